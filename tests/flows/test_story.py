"""The whole story with real parts: a program beats, dies, people hear of it, it comes back, people hear of that."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from telling import Program, Story, telling
from waiting import wait_until

DEAD = "has been silent"
BACK = "alive again"
TIMEOUT = 1.5
HEARD_WITHIN = 1.0
"""Seconds after the deadline by which all three messages are there."""


@pytest.fixture
def programs() -> Iterator[list[Program]]:
    started: list[Program] = []
    yield started
    for program in started:
        program.kill()


async def comes_to_life(story: Story, programs: list[Program], name: str = "api-worker") -> Program:
    """A monitor whose program beats it five times per timeout."""
    monitor = await story.monitor(name, timeout=TIMEOUT)
    program = Program.start(monitor["heartbeat_url"], TIMEOUT / 5)
    programs.append(program)
    await wait_until(lambda: is_status(story, "alive", name), f"{name} alive")
    return program


async def is_status(story: Story, wanted: str, name: str = "api-worker") -> bool:
    return (await story.status(name))[0] == wanted


async def dies_and_is_heard(story: Story, program: Program) -> None:
    """Kills the program; within a second of the deadline everybody knows."""
    program.kill()
    _, seen = await story.status()
    assert seen is not None
    at = await story.all_heard(DEAD, timeout=TIMEOUT + 5)
    assert at - (seen + TIMEOUT) <= HEARD_WITHIN


async def comes_back(story: Story, programs: list[Program], url: str) -> None:
    """A new process of the program beats again; everybody hears of the recovery."""
    programs.append(Program.start(url, TIMEOUT / 5))
    await story.all_heard(BACK, timeout=5)
    assert await is_status(story, "alive")


@pytest.mark.parametrize("notify", ["hints", "no hints"])
async def test_silence_reaches_people_and_so_does_recovery(
    tmp_path: Path, programs: list[Program], notify: str
) -> None:
    """Three messages within a second of the deadline, then recovery; the same limits without expiry events."""
    hints = {} if notify == "hints" else {"PULSE_EXPIRY_HINTS": "false"}
    async with telling(tmp_path, **hints) as story:
        await story.channels()
        program = await comes_to_life(story, programs)
        url = program.process.args[3]  # type: ignore[index]
        await dies_and_is_heard(story, program)
        await comes_back(story, programs, str(url))
        assert story.heard(DEAD) == (1, 1, 1)
        assert story.group.stop() < 10


async def test_killing_everything_in_the_middle_loses_nothing(
    tmp_path: Path, programs: list[Program]
) -> None:
    """`kill -9` of the group while one program is dying and another lives; then a restart on the same data."""
    async with telling(tmp_path) as story:
        await story.channels()
        doomed = await comes_to_life(story, programs)
        await comes_to_life(story, programs, "healthy")
        doomed.kill()
        await asyncio.sleep(1.2)  # its last heartbeat is on disk (everysec), its deadline not yet over
        story.group.kill()
        await asyncio.sleep(3 * TIMEOUT)
        story.group.start()
        await story.group.ready(story.admin)
        await story.all_heard(DEAD, timeout=15)
        assert await is_status(story, "alive", "healthy")
        for double in (story.telegram, story.mail, story.receiver):
            texts = [str(entry) for entry in double.journal.received if DEAD in str(entry)]
            assert all("api-worker" in text for text in texts)
            assert not any("healthy" in text for text in texts)


async def test_an_error_is_heard_at_once(tmp_path: Path) -> None:
    """`status: error` with its message reaches everybody, and a repetition does not."""
    async with telling(tmp_path) as story:
        await story.channels()
        monitor = await story.monitor(timeout=60)
        for _ in range(2):
            report = {"status": "error", "message": "disk full"}
            await story.admin.post(monitor["heartbeat_url"], json=report)
        await story.all_heard("disk full", timeout=5)
        await asyncio.sleep(0.5)
        assert story.heard("disk full") == (1, 1, 1)

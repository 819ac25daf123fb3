"""Redis goes away for 20 seconds: nobody dies of it, neither our processes nor a monitor."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from group import free_port
from servers import Server, binaries
from telling import Program, telling
from waiting import wait_until

OUTAGE = 20.0
"""Seconds: longer than every lease, than arq's patience, and than every timeout below."""


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Server]:
    """A server of its own that keeps its data on disk."""
    folder = tmp_path / "redis"
    folder.mkdir()
    found = binaries()
    name = "redis-server" if "redis-server" in found else "valkey"
    server = Server(name, found[name], folder, port=free_port())
    server.start("--appendonly", "yes", "--appendfsync", "always")
    yield server
    server.stop()


def children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


async def test_an_outage_of_redis_is_survived_and_blames_nobody(tmp_path: Path, redis: Server) -> None:
    """Every process lives, heartbeats get 503 meanwhile, everything goes on by itself, and no false death follows."""
    async with telling(tmp_path, PULSE_REDIS_URL=redis.url) as story:
        await story.channels()
        monitor = await story.monitor(timeout=3)
        program = Program.start(monitor["heartbeat_url"], 0.5)
        try:
            await wait_until(lambda: alive(story), "the monitor alive")
            assert story.group.process is not None
            before = children(story.group.process.pid)
            await asyncio.to_thread(redis.stop)
            for _ in range(int(OUTAGE)):
                answer = await story.admin.post(monitor["heartbeat_url"])
                assert answer.status_code == 503
                assert "Retry-After" in answer.headers
                await asyncio.sleep(1)
            await asyncio.to_thread(redis.start, "--appendonly", "yes", "--appendfsync", "always")
            await wait_until(
                lambda: accepted(story, monitor["heartbeat_url"]), "a heartbeat accepted again", 10
            )
            await asyncio.sleep(5)
            assert await alive(story)
            assert story.heard("has been silent") == (0, 0, 0)
            assert children(story.group.process.pid) == before
        finally:
            program.kill()
        await story.all_heard("has been silent", timeout=8)


async def alive(story: object) -> bool:
    return (await story.status())[0] == "alive"  # type: ignore[attr-defined]


async def accepted(story: object, url: str) -> bool:
    return (await story.admin.post(url)).status_code == 200  # type: ignore[attr-defined]

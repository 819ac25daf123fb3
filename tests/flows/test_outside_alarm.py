"""The outside hears of us regularly, and raises its alarm in time whichever link breaks, in whatever way."""

from pathlib import Path

import pytest
from chaos.chain import LINKS, WAYS, Way, chain
from doubles.receiver import Receiver
from group import free_port
from telling import Group
from waiting import wait_until

INTERVAL = 3.0
"""Seconds, where an installation has 30: everything below is a tenth of what it is there."""


@pytest.mark.timeout(400)
@pytest.mark.parametrize("way", WAYS)
async def test_the_outside_raises_its_alarm_whichever_link_breaks(tmp_path: Path, way: Way) -> None:
    """Killed for good or stopped: no beat, an alarm within three intervals; mended: beats again, by itself."""
    async with chain(tmp_path, INTERVAL) as ours:
        for link in LINKS:
            await ours.heard(2)
            broken = await ours.break_link(link, way)
            after = await ours.alarm(broken)
            assert after <= ours.bound, f"{link}: the alarm came {after:.1f} s later"
            await ours.mend(link, way)
        await ours.heard(2)


async def test_up_does_it_too(tmp_path: Path) -> None:
    """`mishpulse up` needs the URL and nothing else."""
    async with Receiver() as outside:
        settings = {"PULSE_SELF_PING_URL": f"{outside.url}/up", "PULSE_SELF_PING_INTERVAL": f"{INTERVAL:g}"}
        group = Group(tmp_path / "data", free_port(), settings)
        group.start()
        try:
            await wait_until(lambda: len(outside.journal.received) >= 2, "two beats", timeout=60)
        finally:
            group.stop()
    assert {one["path"] for one in outside.journal.received} == {"/up"}

"""Each link of the self-ping is killed and stopped for good, and the outside raises its alarm in time.

A full run takes the intervals of an installation: a beat every 30 s, an alarm after 75 s without one.
"""

import asyncio
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from chaos.chain import LINKS, WAYS, chain
from chaos.score import Context, Score

NAME: Final = "self-ping"
PROMISE: Final = "a broken link is told from outside"
WEIGHT: Final = 0.5
LEAST: Final = 45.0
FULL: Final = 360.0

INTERVAL: Final = 30.0
SHORTEST: Final = 3.0
INTERVALS: Final = 12.0
"""What two faults of one link take: each up to three until the alarm, two until beats are regular, one of chance."""


@dataclass
class Cases:
    """What came of one link's faults: the seconds to each alarm, and what the outside heard while all was well."""

    link: str
    alarms: dict[str, float] = field(default_factory=dict)
    beats: int = 0
    false_alarms: int = 0


async def run(context: Context) -> Score:
    """An installation for each link, side by side; in each the link is killed, mended, stopped and let go on."""
    interval = min(INTERVAL, max(SHORTEST, context.budget / INTERVALS))
    seeds = [context.rng.random() for _ in LINKS]
    found = await asyncio.gather(
        *(
            _break(link, context.folder / link, interval, seed)
            for link, seed in zip(LINKS, seeds, strict=True)
        )
    )
    return score(found, interval)


async def _break(link: str, folder: Path, interval: float, seed: float) -> Cases:
    rng = random.Random(seed)
    cases = Cases(link)
    async with chain(folder, interval) as ours:
        for way in WAYS:
            beats = await ours.heard(2)
            cases.beats += len(beats)
            cases.false_alarms += ours.false_alarms(beats)
            await asyncio.sleep(rng.uniform(0, interval))
            broken = await ours.break_link(link, way)
            cases.alarms[way] = await ours.alarm(broken)
            await ours.mend(link, way)
        cases.beats += len(await ours.heard(1))
    return cases


def score(found: list[Cases], interval: float) -> Score:
    """The rows of what was seen."""
    result = Score()
    alarms = [seconds for cases in found for seconds in cases.alarms.values()]
    figure = f"from a broken link to the outside's alarm, one beat every {interval:g} s, longest"
    result.at_most(PROMISE, figure, max(alarms), 3 * interval, len(alarms), " s")
    heard = sum(cases.beats for cases in found)
    result.zero(
        PROMISE, "alarms of the outside while all was well", sum(c.false_alarms for c in found), heard
    )
    told = ", ".join(
        f"{cases.link} {way} {seconds:.1f} s" for cases in found for way, seconds in cases.alarms.items()
    )
    result.notes.append(f"self-ping: alarms after {told}; all beats came again by themselves")
    return result

"""Redis is killed again and again under load, with both fsync policies, and with slow fsyncs among the kills."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from chaos import consistency, retrying
from chaos.history import now_ms
from chaos.redis_server import Policy, RedisServer
from chaos.retrying import Mark, Writers
from chaos.rig import Rig, rig
from chaos.rows import percentile
from chaos.score import Context, Score
from chaos.wire import Wire
from chaos.workload import Load
from chaos.world import ADMIN_TOKEN

NAME = "redis_kills"
PROMISE = "what is acknowledged survives a killed Redis"
WEIGHT = 1.5
LEAST = 60.0
FULL = 500.0

KILLS: Final = 50
UPTIME: Final = (0.5, 1.5)
"""Seconds of load before an ordinary kill."""
SLOW: Final = (1.5, 3.5)
"""Seconds that each fsync takes before every other kill; the kill comes somewhere within."""
DOWN: Final = (0.0, 0.4)
AGAIN_WITHIN: Final = 10.0
WINDOW: Final = 2.5
"""Seconds of acknowledged writes that `everysec` may lose: Redis puts writes off for 2 s behind a slow fsync."""
DRAIN: Final = 60.0
LOAD: Final = Load(monitors=0, events=0.0, channels=0, webhooks=("order.*",))
REPORTERS: Final = 20
TELLERS: Final = 10
EVERY: Final = 0.1


@dataclass(slots=True)
class Toll:
    """What the kills of one policy cost. Times in seconds; `lost` are acknowledged writes that are gone."""

    kills: int = 0
    slow: int = 0
    lost: list[Mark] = field(default_factory=list)
    windows: list[float] = field(default_factory=list)
    back: list[float] = field(default_factory=list)
    acknowledged: int = 0
    doubled: int = 0


async def run(context: Context) -> Score:
    """The same for each policy: a load, the kills, a look at what is left."""
    score = Score()
    for policy in ("always", "everysec"):
        folder = context.folder.parent / f"{NAME}-{policy}"
        folder.mkdir(parents=True, exist_ok=True)
        async with _running(context, folder, policy) as (up, server, writers):
            pids = {name: one.pid for name, one in up.world.processes.items()}
            toll = await _kill_all(up, server, writers, context)
            left = await up.drained(DRAIN)
            _tell(score, policy, toll)
            await _tell_after(score, policy, up, left, pids)
    score.notes.append(
        "A killed process is no power loss: what Redis has written reached the page cache, which survives here."
    )
    return score


@contextlib.asynccontextmanager
async def _running(
    context: Context, folder: Path, policy: Policy
) -> AsyncIterator[tuple[Rig, RedisServer, Writers]]:
    server = RedisServer(folder, policy)
    server.start()
    try:
        async with (
            rig(context, LOAD, redis_url=server.url) as up,
            Wire(up.world.ports["collector"], ADMIN_TOKEN) as wire,
        ):
            writers = Writers(wire, context.rng, policy)
            await writers.make(up.store, REPORTERS)
            yield up, server, writers
    finally:
        server.slow_fsyncs(0)
        server.kill()


async def _kill_all(up: Rig, server: RedisServer, writers: Writers, context: Context) -> Toll:
    toll = Toll()
    load = [
        *(asyncio.create_task(writers.keep_failing(one, EVERY)) for one in writers.reporters),
        *(asyncio.create_task(writers.keep_telling(EVERY)) for _ in range(TELLERS)),
    ]
    for number in range(context.count(KILLS, least=3)):
        await _kill(up, server, writers, context.rng, toll, slow=number % 2 == 0)
    writers.stop()
    await asyncio.gather(*load)
    toll.acknowledged = len(writers.written.acknowledged)
    lost, doubled = retrying.compare(writers.written.acknowledged, await retrying.marks(up.store))
    toll.doubled = len(doubled)
    assert set(lost) == set(toll.lost), "what survived a restart is gone later"
    return toll


async def _kill(
    up: Rig, server: RedisServer, writers: Writers, rng: random.Random, toll: Toll, *, slow: bool
) -> None:
    """One kill, and what it cost."""
    await asyncio.sleep(rng.uniform(*UPTIME))
    if slow:
        each = rng.uniform(*SLOW)
        server.slow_fsyncs(each)
        await asyncio.sleep(1.0 + rng.uniform(0.3, 1.0) * each)
    acknowledged = writers.written.acknowledged
    server.kill()
    killed = now_ms()
    up.history.fault("kill", "redis", killed)
    server.slow_fsyncs(0)
    count = len(acknowledged)
    await asyncio.sleep(rng.uniform(*DOWN))
    server.start()
    started = now_ms()
    toll.kills += 1
    toll.slow += slow
    before = [mark for mark, at in acknowledged.items() if at <= killed + 1]
    there = set(await retrying.marks(up.store))
    known = set(toll.lost)
    lost = [mark for mark in before if mark not in there and mark not in known]
    toll.lost += lost
    if lost:
        toll.windows.append((killed - min(acknowledged[mark] for mark in lost)) / 1000)
    while len(acknowledged) == count and now_ms() - started < 1000 * AGAIN_WITHIN:  # noqa: ASYNC110 - a dict sets no Event
        await asyncio.sleep(0.01)
    toll.back.append((now_ms() - started) / 1000)


def _tell(score: Score, policy: str, toll: Toll) -> None:
    name = f"`{policy}`"
    n = toll.acknowledged
    if policy == "always":
        score.zero(PROMISE, f"{name}: acknowledged writes lost in {toll.kills} kills", len(toll.lost), n)
    else:
        told = f"{len(toll.lost):,} in {len(toll.windows)} of {toll.kills} kills"
        score.told(PROMISE, f"{name}: acknowledged writes lost", told, n)
        worst = max(toll.windows, default=0.0)
        figure = f"{name}: time from the first lost write to the kill, longest"
        score.at_most(PROMISE, figure, worst, WINDOW, toll.kills, " s")
    score.zero(PROMISE, f"{name}: writes doubled", toll.doubled, n)
    figure = f"{name}: writes are acknowledged again after Redis answers, p99"
    score.at_most(PROMISE, figure, percentile(toll.back, 0.99), AGAIN_WITHIN, toll.kills, " s")
    score.notes.append(
        f"{name}: {toll.kills} kills, {toll.slow} of them with fsyncs that took {SLOW[0]:g} to "
        f"{SLOW[1]:g} s; {n:,} writes were acknowledged."
    )


async def _tell_after(score: Score, policy: str, up: Rig, left: dict[str, int], pids: dict[str, int]) -> None:
    name = f"`{policy}`"
    found = await consistency.inspect(up.store)
    n = found.monitors + found.events + found.deliveries
    score.zero(PROMISE, f"{name}: contradictions in Redis afterwards", len(found.contradictions), n)
    score.notes += found.contradictions[:3]
    score.zero(PROMISE, f"{name}: deliveries left undone", sum(left.values()), found.deliveries)
    other = [one for one, pid in pids.items() if up.world.processes[one].pid != pid] + up.world.check()
    score.zero(PROMISE, f"{name}: processes that did not live through it", len(other), len(pids))

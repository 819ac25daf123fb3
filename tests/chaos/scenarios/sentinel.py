"""The primary of a Sentinel group is killed or frozen again and again under load; another takes its place each time."""

import asyncio
from dataclasses import dataclass, field
from typing import Final

from servers import binaries
from topology import Node, SentinelGroup, eventually

from chaos import consistency, retrying
from chaos.history import now_ms
from chaos.retrying import Mark, Writers
from chaos.rig import Rig, rig
from chaos.rows import percentile
from chaos.score import Context, Score
from chaos.wire import Wire
from chaos.workload import Load
from chaos.world import ADMIN_TOKEN

NAME: Final = "sentinel"
PROMISE: Final = "a Redis that fails is replaced by its replica"
WEIGHT: Final = 1.0
LEAST: Final = 60.0
FULL: Final = 480.0

FAILOVERS: Final = 20
DOWN_AFTER_MS: Final = 5_000
"""What docs/operations.md recommends."""
SERVES_WITHIN: Final = 15.0
LOST_WITHIN: Final = 1.0
"""Seconds of acknowledged writes that replication may have been behind: the replica is on this machine."""
UPTIME: Final = (1.0, 3.0)
DRAIN: Final = 60.0
LOAD: Final = Load(monitors=0, events=0.0, channels=0, webhooks=("order.*",))
REPORTERS: Final = 20
TELLERS: Final = 10
EVERY: Final = 0.1
OPTIONS: Final = ("--appendonly", "yes", "--min-replicas-to-write", "1", "--min-replicas-max-lag", "10")


@dataclass(slots=True)
class Toll:
    """What the failovers cost. Times in seconds; `lost` are acknowledged writes that are gone."""

    kills: int = 0
    freezes: int = 0
    lost: list[Mark] = field(default_factory=list)
    windows: list[float] = field(default_factory=list)
    back: list[float] = field(default_factory=list)

    @property
    def failovers(self) -> int:
        return self.kills + self.freezes


async def run(context: Context) -> Score:
    """A load, the failovers, a look at what is left."""
    found = binaries()
    binary = found.get("redis-server") or found["valkey"]
    folder = context.folder.parent / f"{NAME}-redis"
    group = SentinelGroup(binary, folder, down_after_ms=DOWN_AFTER_MS, options=OPTIONS)
    try:
        group.start()
        async with (
            rig(context, LOAD, redis_url=group.url) as up,
            Wire(up.world.ports["collector"], ADMIN_TOKEN) as wire,
        ):
            writers = Writers(wire, context.rng, NAME)
            await writers.make(up.store, REPORTERS)
            return await _judge(up, group, writers, context)
    finally:
        group.stop()


async def _judge(up: Rig, group: SentinelGroup, writers: Writers, context: Context) -> Score:
    pids = {name: one.pid for name, one in up.world.processes.items()}
    toll = Toll()
    load = [
        *(asyncio.create_task(writers.keep_failing(one, EVERY)) for one in writers.reporters),
        *(asyncio.create_task(writers.keep_telling(EVERY)) for _ in range(TELLERS)),
    ]
    for number in range(context.count(FAILOVERS, least=3)):
        await asyncio.sleep(context.rng.uniform(*UPTIME))
        await _fail_over(up, group, writers, toll, frozen=number % 2 == 1)
    writers.stop()
    await asyncio.gather(*load)
    acknowledged = writers.written.acknowledged
    lost, doubled = retrying.compare(acknowledged, await retrying.marks(up.store))
    left = await up.drained(DRAIN)
    score = Score()
    _tell(score, toll, len(acknowledged))
    later = set(lost) - set(toll.lost)
    score.zero(PROMISE, "writes lost later than by their failover", len(later), len(acknowledged))
    score.zero(PROMISE, "writes doubled", len(doubled), len(acknowledged))
    await _tell_after(score, up, left, pids)
    return score


async def _fail_over(up: Rig, group: SentinelGroup, writers: Writers, toll: Toll, *, frozen: bool) -> None:
    """One failover, and what it cost; at its end the old primary follows the new one."""
    old = await asyncio.to_thread(lambda: group.primary)
    acknowledged = writers.written.acknowledged
    _fail(old, frozen=frozen)
    failed = now_ms()
    up.history.fault("freeze" if frozen else "kill", "redis primary", failed)
    await asyncio.sleep(0.1)  # answers that were on their way
    count = len(acknowledged)
    before = [mark for mark, at in acknowledged.items() if at <= failed + 100]
    while len(acknowledged) == count and now_ms() - failed < 4_000 * SERVES_WITHIN:  # noqa: ASYNC110 - a dict sets no Event
        await asyncio.sleep(0.01)
    toll.back.append((now_ms() - failed) / 1000)
    toll.kills += not frozen
    toll.freezes += frozen
    _mend(old, frozen=frozen)
    await asyncio.to_thread(eventually, group.settled, "the old primary follows the new one", 60)
    there = set(await retrying.marks(up.store))
    known = set(toll.lost)
    lost = [mark for mark in before if mark not in there and mark not in known]
    toll.lost += lost
    if lost:
        toll.windows.append((failed - min(acknowledged[mark] for mark in lost)) / 1000)


def _fail(node: Node, *, frozen: bool) -> None:
    if frozen:
        node.freeze()
    else:
        node.kill()


def _mend(node: Node, *, frozen: bool) -> None:
    if frozen:
        node.thaw()
    else:
        node.start()


def _tell(score: Score, toll: Toll, n: int) -> None:
    kinds = f"{toll.kills} by kill -9, {toll.freezes} by SIGSTOP"
    score.told(PROMISE, "Sentinel failovers under load", kinds, toll.failovers)
    longest = "from the failure to the next acknowledged write, longest"
    score.at_most(PROMISE, longest, max(toll.back), SERVES_WITHIN, toll.failovers, " s")
    told = f"{len(toll.lost):,} in {len(toll.windows)} of {toll.failovers} failovers"
    score.told(PROMISE, "acknowledged writes lost by failovers", told, n)
    worst = max(0.0, *toll.windows) if toll.windows else 0.0
    figure = "time from the first lost write to the failure, longest"
    score.at_most(PROMISE, figure, worst, LOST_WITHIN, toll.failovers, " s")
    middle = percentile(toll.back, 0.5)
    score.notes.append(
        f"sentinel: one primary, two replicas, three sentinels, down-after-milliseconds {DOWN_AFTER_MS}, "
        f"min-replicas-to-write 1; {n:,} writes were acknowledged; median {middle:.1f} s until the next one. "
        "A failover may lose what was acknowledged before it was replicated."
    )


async def _tell_after(score: Score, up: Rig, left: dict[str, int], pids: dict[str, int]) -> None:
    found = await consistency.inspect(up.store)
    n = found.monitors + found.events + found.deliveries
    score.zero(PROMISE, "contradictions in Redis afterwards", len(found.contradictions), n)
    score.notes += found.contradictions[:3]
    score.zero(PROMISE, "deliveries left undone", sum(left.values()), found.deliveries)
    other = [one for one, pid in pids.items() if up.world.processes[one].pid != pid] + up.world.check()
    score.zero(PROMISE, "processes that did not live through it", len(other), len(pids))

"""The primary of a Sentinel group fails again and again under load; another takes its place each time.

It is killed, frozen, or replaced by order while it is well: then it goes on taking writes until the sentinels reach
it, and whoever still writes there is told a lie.
"""

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

FAILOVERS: Final = 21
KINDS: Final = ("kill", "freeze", "order")
DOWN_AFTER_MS: Final = 5_000
"""What docs/operations.md recommends."""
SERVES_WITHIN: Final = 15.0
LOST_WITHIN: Final = 1.0
"""Seconds of acknowledged writes that replication may have been behind: the replica is on this machine."""
STALE_WITHIN: Final = 3.0
"""Seconds after an order in which the old primary may still be written: until the sentinels know and were asked."""
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

    failovers: list[str] = field(default_factory=list)
    lost: dict[str, list[Mark]] = field(default_factory=lambda: {kind: [] for kind in KINDS})
    windows: list[float] = field(default_factory=list)
    """From the first lost write to the failure."""
    stale: list[float] = field(default_factory=list)
    """From an order to the last write that the old primary took and that is lost."""
    back: list[float] = field(default_factory=list)
    """From a failure to the next acknowledged write."""

    @property
    def all_lost(self) -> set[Mark]:
        return {mark for marks in self.lost.values() for mark in marks}


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
        await _fail_over(up, group, writers, toll, KINDS[number % len(KINDS)])
    writers.stop()
    await asyncio.gather(*load)
    acknowledged = writers.written.acknowledged
    lost, doubled = retrying.compare(acknowledged, await retrying.marks(up.store))
    left = await up.drained(DRAIN)
    score = Score()
    _tell(score, toll, len(acknowledged))
    later = set(lost) - toll.all_lost
    score.zero(PROMISE, "writes lost later than by their failover", len(later), len(acknowledged))
    score.zero(PROMISE, "writes doubled", len(doubled), len(acknowledged))
    await _tell_after(score, up, left, pids)
    return score


async def _fail_over(up: Rig, group: SentinelGroup, writers: Writers, toll: Toll, kind: str) -> None:
    """One failover, and what it cost; at its end the old primary follows the new one."""
    old = await asyncio.to_thread(lambda: group.primary)
    acknowledged = writers.written.acknowledged
    _fail(group, old, kind)
    failed = now_ms()
    up.history.fault(kind, "redis primary", failed)
    if kind == "order":
        await asyncio.to_thread(eventually, lambda: group.primary is not old, "another was chosen", 60)
    else:
        await asyncio.sleep(0.1)  # answers that were on their way
        count = len(acknowledged)
        while len(acknowledged) == count and now_ms() - failed < 4_000 * SERVES_WITHIN:  # noqa: ASYNC110 - a dict sets no Event
            await asyncio.sleep(0.01)
        toll.back.append((now_ms() - failed) / 1000)
    toll.failovers.append(kind)
    _mend(old, kind)
    await asyncio.to_thread(eventually, group.settled, "the old primary follows the new one", 60)
    _count(toll, kind, failed, dict(acknowledged), set(await retrying.marks(up.store)))


def _count(toll: Toll, kind: str, failed: float, acknowledged: dict[Mark, float], there: set[Mark]) -> None:
    """What was acknowledged until the group had settled, and is gone."""
    lost = [mark for mark in acknowledged.keys() - toll.all_lost if mark not in there]
    toll.lost[kind] += lost
    times = [acknowledged[mark] for mark in lost]
    if lost and kind == "order":
        toll.stale.append((max(times) - failed) / 1000)
    elif lost:
        toll.windows.append((failed - min(times)) / 1000)


def _fail(group: SentinelGroup, node: Node, kind: str) -> None:
    if kind == "freeze":
        node.freeze()
    elif kind == "kill":
        node.kill()
    else:
        group.watchers[0].ask("SENTINEL", "FAILOVER", group.service)


def _mend(node: Node, kind: str) -> None:
    if kind == "freeze":
        node.thaw()
    elif kind == "kill":
        node.start()


def _tell(score: Score, toll: Toll, n: int) -> None:
    counts = {kind: toll.failovers.count(kind) for kind in KINDS}
    told = f"{counts['kill']} by kill -9, {counts['freeze']} by SIGSTOP, {counts['order']} by order"
    score.told(PROMISE, "Sentinel failovers under load", told, len(toll.failovers))
    longest = "from the failure to the next acknowledged write, longest"
    score.at_most(PROMISE, longest, max(toll.back), SERVES_WITHIN, len(toll.back), " s")
    failed = len(toll.lost["kill"]) + len(toll.lost["freeze"])
    score.told(PROMISE, "acknowledged writes lost by failures of the primary", f"{failed:,}", n)
    figure = "time from the first lost write to the failure, longest"
    score.at_most(PROMISE, figure, max([0.0, *toll.windows]), LOST_WITHIN, len(toll.back), " s")
    figure = "acknowledged writes lost to a primary that was replaced by order and went on"
    score.told(PROMISE, figure, f"{len(toll.lost['order']):,}", n)
    figure = "time from the order to the last such write, longest"
    score.at_most(PROMISE, figure, max([0.0, *toll.stale]), STALE_WITHIN, counts["order"], " s")
    score.notes.append(
        f"sentinel: one primary, two replicas, three sentinels, down-after-milliseconds {DOWN_AFTER_MS}, "
        f"min-replicas-to-write 1; {n:,} writes were acknowledged; median {percentile(toll.back, 0.5):.1f} s from a "
        "failure until the next one. Redis replicates after it has answered: a failover may always lose something."
    )


async def _tell_after(score: Score, up: Rig, left: dict[str, int], pids: dict[str, int]) -> None:
    found = await consistency.inspect(up.store)
    n = found.monitors + found.events + found.deliveries
    score.zero(PROMISE, "contradictions in Redis afterwards", len(found.contradictions), n)
    score.notes += found.contradictions[:3]
    score.zero(PROMISE, "deliveries left undone", sum(left.values()), found.deliveries)
    other = [one for one, pid in pids.items() if up.world.processes[one].pid != pid] + up.world.check()
    score.zero(PROMISE, "processes that did not live through it", len(other), len(pids))

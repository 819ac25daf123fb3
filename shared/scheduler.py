"""What keeps the delivery ledger moving without any hint: it wakes what is due and takes back what was abandoned.

Every worker process runs it. It wakes its own pump and asks no queue, so that nothing but Redis itself is needed for
a delivery to arrive.
"""

import asyncio
from dataclasses import dataclass
from typing import Final

import structlog

from shared import keys, metrics, scripts, workers
from shared.connection import Store, is_away
from shared.pump import Pump

LONGEST_SLEEP: Final = 1.0
SHORTEST_SLEEP: Final = 0.05
TARGETS_PER_ROUND: Final = 500
LEASE_MS: Final = 1_000
"""A target that was woken is due again after this, unless its claims move it."""
RECLAIM_EVERY: Final = 1.0
CALM_AFTER_OUTAGE: Final = 2 * workers.RENEW_EVERY
"""Seconds in which nobody is called vanished: their keys may have expired while Redis was away."""
MEASURE_EVERY: Final = 5.0
MEASURED_TARGETS: Final = 1_000

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Woken:
    """Targets that are due, and the ms until the next one is (None: nothing is pending)."""

    targets: list[str]
    following: int | None


async def take_due(
    store: Store, shard: int, kind: str, *, limit: int = TARGETS_PER_ROUND, now: int | None = None
) -> Woken:
    """Takes the targets that are due; of racing workers one gets each. They are due again in a second."""
    arguments: list[scripts.RunArgument] = ["" if now is None else now, limit, LEASE_MS]
    following, *targets = await scripts.run(store.redis, "delivery_wake", [keys.due(shard, kind)], arguments)
    return Woken(targets, None if int(following) < 0 else int(following))


async def wake_due(pump: Pump, shard: int, kind: str) -> None:
    """Wakes the pump at the earliest due delivery, at least once a second, until cancelled."""
    while True:
        sleep = LONGEST_SLEEP
        try:
            woken = await take_due(pump.store, shard, kind)
            pump.wake(woken.targets)
            if woken.following is not None:
                sleep = min(LONGEST_SLEEP, max(SHORTEST_SLEEP, woken.following / 1000))
        except Exception as error:  # noqa: BLE001 - the scheduler never exits
            complain("scheduler.wake", error)
        await asyncio.sleep(sleep)


async def reclaim(pump: Pump, shard: int, kind: str, group: str) -> None:
    """Takes back the claims of vanished workers, and this worker's own of which it never heard, until cancelled."""

    def orphaned(claim: workers.Claim) -> bool:
        name = (claim.target, claim.number, claim.epoch)
        return claim.worker == pump.worker and name not in pump.held

    loop = asyncio.get_running_loop()
    calm_until = loop.time()
    while True:
        await asyncio.sleep(max(RECLAIM_EVERY, calm_until - loop.time()))
        try:
            lost = await workers.reclaim(pump.store, shard, kind, orphaned=orphaned)
        except Exception as error:  # noqa: BLE001 - the scheduler never exits
            complain("scheduler.reclaim", error)
            calm_until = loop.time() + CALM_AFTER_OUTAGE
            continue
        if lost:
            log.warning("scheduler.reclaimed", claims=len(lost), worker=lost[0].worker)
            metrics.RECLAIMED.labels(group).inc(len(lost))
            pump.wake({claim.target for claim in lost})


async def measure(store: Store, kind: str, group: str) -> None:
    """Publishes how much is due and for how long it has been, until cancelled."""
    while True:
        try:
            await _measure(store, kind, group)
        except Exception as error:  # noqa: BLE001 - the scheduler never exits
            complain("scheduler.measure", error)
        await asyncio.sleep(MEASURE_EVERY)


async def _measure(store: Store, kind: str, group: str) -> None:
    seconds, micros = await store.redis.time()
    now = seconds * 1000 + micros // 1000
    due, oldest = 0, now
    for shard in range(store.shards):
        targets = await store.redis.zrange(keys.due(shard, kind), 0, MEASURED_TARGETS - 1)
        pipe = store.redis.pipeline(transaction=False)
        for target in targets:
            pipe.zrange(keys.of_target(shard, "queue", target), 0, 0, withscores=True)
        scores = [int(found[0][1]) for found in await pipe.execute() if found]
        due += sum(1 for score in scores if score <= now)
        oldest = min(oldest, *scores, now)
    metrics.DUE_TARGETS.labels(group).set(due)
    metrics.OLDEST_UNDELIVERED.labels(group).set((now - oldest) / 1000)


def complain(what: str, error: BaseException) -> None:
    """Counts and logs what went wrong in a loop that goes on."""
    metrics.count_redis_error(error)
    if is_away(error):
        log.warning(what, error=repr(error))
    else:
        log.error(what, exc_info=error)

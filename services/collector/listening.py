"""Says every quarter of a second that a collector listens, so that watchdogs can tell silence from our blindness."""

import asyncio

import structlog

from shared import metrics, scripts
from shared.connection import Store
from shared.settings import Settings

log = structlog.get_logger(__name__)

STAMP_EVERY = 0.25
"""Seconds: four stamps may be late before watchdogs hold still (`scripts.STALE_AFTER_MS`)."""


async def keep_stamping(store: Store, settings: Settings) -> None:
    """Stamps every shard until cancelled; an unreachable Redis only makes the gap that is recorded afterwards.

    Each shard by itself: one node of a cluster that hangs must not pass for blindness on all others.
    """
    async with asyncio.TaskGroup() as group:
        for shard in range(store.shards):
            blind_after = int(settings.blind_after * 1000) if shard == 0 else None
            group.create_task(_stamp(store, shard, blind_after))


async def _stamp(store: Store, shard: int, blind_after: int | None) -> None:
    while True:
        try:
            gap = await scripts.stamp(store.redis, shard, blind_after)
        except Exception as error:  # noqa: BLE001 - whatever it is, the next stamp is the remedy
            metrics.count_redis_error(error)
            log.warning("cannot stamp that the collector listens", shard=shard, error=str(error))
        else:
            if gap:
                metrics.BLIND_SECONDS.inc(gap / 1000 if shard == 0 else 0)
                log.warning("nobody listened for a while; deadlines are credited", shard=shard, gap_ms=gap)
        await asyncio.sleep(STAMP_EVERY)

"""Says that a collector listens, so that watchdogs can tell silence from our blindness.

A silence counts only up to the newest stamp. So a collector stamps right after each deadline, which the watchdog waits
for, and every quarter of a second when none is near.
"""

import asyncio

import structlog

from shared import metrics, scripts
from shared.connection import Store
from shared.settings import Settings

log = structlog.get_logger(__name__)

STAMP_EVERY = 0.25
"""Seconds: four stamps may be late before watchdogs hold still (`scripts.STALE_AFTER_MS`)."""
STAMP_AGAIN = 0.01
"""Seconds between stamps at least: deadlines may follow each other without end."""


class Listening:
    """Stamps while the body of its `async with` lasts, but not after `close`.

    Requests under way may take seconds to end after the socket was closed: whoever beats then is not heard, so those
    seconds belong to the gap.
    """

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._settings = settings
        self._closed = False
        self._task: asyncio.Task[None] | None = None

    def close(self) -> None:
        """Says no more that a collector listens: new connections are about to be refused."""
        self._closed = True
        if self._task is not None:
            self._task.cancel()

    async def __aenter__(self) -> None:
        if not self._closed:
            self._task = asyncio.create_task(keep_stamping(self._store, self._settings))

    async def __aexit__(self, *_: object) -> None:
        self.close()
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)


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
        pause = STAMP_EVERY
        try:
            stamped = await scripts.stamp(store.redis, shard, blind_after)
        except Exception as error:  # noqa: BLE001 - whatever it is, the next stamp is the remedy
            metrics.count_redis_error(error)
            log.warning("cannot stamp that the collector listens", shard=shard, error=str(error))
        else:
            if stamped.gap:
                metrics.BLIND_SECONDS.inc(stamped.gap / 1000 if shard == 0 else 0)
                log.warning(
                    "nobody listened for a while; deadlines are credited", shard=shard, gap_ms=stamped.gap
                )
            if stamped.following is not None:
                pause = min(STAMP_EVERY, max(STAMP_AGAIN, (stamped.following + 1) / 1000))
        await asyncio.sleep(pause)

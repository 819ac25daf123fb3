"""Says until when a collector has listened, so that watchdogs can tell silence from our blindness.

A silence counts only up to the newest stamp. So a collector stamps right after each deadline, which the watchdog waits
for, and every quarter of a second when none is near.

A stamp is true: whatever had arrived at its time is recorded. When the collector or Redis stood still for a moment,
heartbeats wait in sockets, and a stamp that overtook them would turn our own delay into their deaths. So the server's
time is asked for first, then all that is here is taken in and recorded, and then that time is stamped.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import structlog

from shared import metrics, scripts
from shared.connection import Store
from shared.settings import Settings

log = structlog.get_logger(__name__)

STAMP_EVERY = 0.25
"""Seconds: four stamps may be late before watchdogs hold still (`scripts.STALE_AFTER_MS`)."""
STAMP_AGAIN = 0.01
"""Seconds between stamps at least: deadlines may follow each other without end."""
TURNS = 4
"""Turns of the loop in which a waiting connection is accepted, read, and its heartbeat on its way to the batch."""
SETTLE_WITHIN = 0.5
"""Seconds that a stamp waits for what was there before it; a flood must not keep it until it is stale."""

Settled = Callable[[int], Awaitable[None]]
"""Returns when the heartbeats of a shard that are here have been recorded."""


class Listening:
    """Stamps from `open` on until `close`, or the end of its `async with`.

    Who comes before the port is served waits unheard. Requests under way may take seconds to end after the socket was
    closed: whoever beats then is not heard either. Both belong to the gap.
    """

    def __init__(self, store: Store, settings: Settings, settled: Settled) -> None:
        self._store = store
        self._settings = settings
        self._settled = settled
        self._closed = False
        self._task: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Begins to say it: the port is served. Does nothing after `close`."""
        if not self._closed and self._task is None:
            self._task = asyncio.create_task(keep_stamping(self._store, self._settings, self._settled))

    def close(self) -> None:
        """Says no more that a collector listens: new connections are about to be refused."""
        self._closed = True
        if self._task is not None:
            self._task.cancel()

    async def __aenter__(self) -> None:
        pass

    async def __aexit__(self, *_: object) -> None:
        self.close()
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)


async def keep_stamping(store: Store, settings: Settings, settled: Settled) -> None:
    """Stamps every shard until cancelled; an unreachable Redis only makes the gap that is recorded afterwards.

    Each shard by itself: one node of a cluster that hangs must not pass for blindness on all others.
    """
    async with asyncio.TaskGroup() as group:
        for shard in range(store.shards):
            blind_after = int(settings.blind_after * 1000) if shard == 0 else None
            group.create_task(_stamp(store, shard, blind_after, settled))


async def _stamp(store: Store, shard: int, blind_after: int | None, settled: Settled) -> None:
    while True:
        pause = STAMP_EVERY
        try:
            now = await scripts.server_time(store.redis, shard)
            await _take_in(settled, shard)
            stamped = await scripts.stamp(store.redis, shard, blind_after, now)
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


async def _take_in(settled: Settled, shard: int) -> None:
    """Waits until what has arrived until now is recorded."""
    for _ in range(TURNS):
        await asyncio.sleep(0)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(SETTLE_WITHIN):
            await settled(shard)

"""Says until when a collector has listened, so that watchdogs can tell silence from our blindness.

A silence counts only up to the newest stamp. So a collector stamps right after each deadline, which the watchdog waits
for, and every quarter of a second when none is near.

A stamp is true: whatever had arrived at its time is recorded. When the collector or Redis stood still for a moment,
heartbeats wait in sockets, and a stamp that overtook them would turn our own delay into their deaths. So the server's
time is asked for first, then all that is here is taken in and recorded, and then that time is stamped. In a flood for
which `SETTLE_WITHIN` is not enough it is stamped all the same: other deaths must be found.
"""

import asyncio
import contextlib
import time
from typing import Protocol

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
"""Turns of the loop in which a connection is read and its heartbeat on its way to the batch. uvloop accepts one
connection a turn, so as many in a row must accept none."""
SETTLE_WITHIN = 0.35
"""Seconds that a stamp waits for what was there before it. A stamp is as old as the wait before it and the next one
together: twice this must stay below `scripts.STALE_AFTER_MS`."""


class Arrivals(Protocol):
    """Where heartbeats come in."""

    accepted: int
    """Connections so far."""

    async def settled(self, shard: int) -> None:
        """Returns when the heartbeats of a shard that are here have been recorded."""


class Listening:
    """Stamps from `open` on until `close`, or the end of its `async with`.

    Who comes before the port is served waits unheard. Requests under way may take seconds to end after the socket was
    closed: whoever beats then is not heard either. Both belong to the gap.
    """

    def __init__(self, store: Store, settings: Settings, arrivals: Arrivals) -> None:
        self._store = store
        self._settings = settings
        self._arrivals = arrivals
        self._closed = False
        self._task: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Begins to say it: the port is served. Does nothing after `close`."""
        if not self._closed and self._task is None:
            self._task = asyncio.create_task(keep_stamping(self._store, self._settings, self._arrivals))

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


async def keep_stamping(store: Store, settings: Settings, arrivals: Arrivals) -> None:
    """Stamps every shard until cancelled; an unreachable Redis only makes the gap that is recorded afterwards.

    Each shard by itself: one node of a cluster that hangs must not pass for blindness on all others.
    """
    async with asyncio.TaskGroup() as group:
        for shard in range(store.shards):
            blind_after = int(settings.blind_after * 1000) if shard == 0 else None
            group.create_task(_stamp(store, shard, blind_after, arrivals))


async def _stamp(store: Store, shard: int, blind_after: int | None, arrivals: Arrivals) -> None:
    while True:
        began, pause = time.monotonic(), STAMP_EVERY
        try:
            now = await scripts.server_time(store.redis, shard)
            await _take_in(arrivals, shard)
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
                pause = min(STAMP_EVERY, (stamped.following + 1) / 1000)
            pause = min(pause, began + STAMP_EVERY - time.monotonic())
        await asyncio.sleep(max(STAMP_AGAIN, pause))


async def _take_in(arrivals: Arrivals, shard: int) -> None:
    """Waits until what has arrived until now is recorded."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(SETTLE_WITHIN):
            quiet = 0
            while quiet < TURNS:
                before = arrivals.accepted
                await asyncio.sleep(0)
                quiet = quiet + 1 if arrivals.accepted == before else 0
            await arrivals.settled(shard)

"""What the clock of Redis left ahead when it stepped back: brought to the present, so that no silence is found late.

While the clock stood ahead, heartbeats set deadlines by it. The stamp that first comes from behind the last one marks
the step (`lua/stamp.lua`), and the mark stays until a watchdog has walked over every monitor, whoever dies meanwhile.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Final

import structlog

from shared import keys, metrics, scripts
from shared.connection import Store

log = structlog.get_logger(__name__)

LOOK_EVERY: Final = 1.0
"""Seconds: how much later than without a step a silence may be found."""
BATCH: Final = 200
"""Monitors in one script call: at most 1,000 commands, 2 ms."""
LEASE_MS: Final = 10_000
"""One watchdog walks at a time; another goes on when nothing was heard of it for this long."""


async def keep_rewinding(store: Store, shard: int, stop: asyncio.Event) -> None:
    """Looks for a step of the clock until `stop` is set."""
    while not stop.is_set():
        try:
            await rewind(store, shard, stop)
        except Exception as error:  # noqa: BLE001 - the mark stays, so the next look goes on
            metrics.count_redis_error(error)
            log.warning("deadlines are not brought back yet", shard=shard, error=str(error))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK_EVERY):
                await stop.wait()


async def rewind(store: Store, shard: int, stop: asyncio.Event) -> int:
    """Walks over every monitor of a shard whose clock stepped back; returns how many deadlines came nearer.

    0 when there was no step, or while another watchdog walks. A walk that is stopped is begun anew by the next one.
    """
    mark = await store.redis.get(keys.stepped(shard))
    if mark is None:
        return 0
    lease = keys.rewinding(shard)
    if not await store.redis.set(lease, "1", nx=True, px=LEASE_MS):
        return 0
    nearer = 0
    loop = asyncio.get_running_loop()
    async for ids in _all(store, shard):
        if stop.is_set():
            return nearer
        began = loop.time()
        nearer += await scripts.rewind(store.redis, shard, ids)
        await store.redis.pexpire(lease, LEASE_MS)
        await asyncio.sleep(loop.time() - began)  # half of Redis' time is for heartbeats
    await scripts.rewind(store.redis, shard, [], forget=mark)
    await store.redis.delete(lease)
    log.warning("the clock of Redis stepped back; deadlines are brought back", shard=shard, nearer=nearer)
    return nearer


async def _all(store: Store, shard: int) -> AsyncIterator[list[str]]:
    """The ids of every monitor there is all the while, whatever becomes of their deadlines; some come twice."""
    cursor = 0
    while True:
        cursor, found = await store.redis.zscan(keys.deadlines(shard), cursor, count=BATCH)
        for start in range(0, len(found), BATCH):
            yield [monitor_id for monitor_id, _ in found[start : start + BATCH]]
        if not cursor:
            return

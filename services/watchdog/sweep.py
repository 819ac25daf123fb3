"""The ledger: walks the `deadlines` sorted set, so that no silence is missed whatever happens to the hints."""

import asyncio
import time
from dataclasses import replace

import structlog

from services.watchdog.transitions import UNDER_WAY, UNHEARD_PAUSE, declare
from shared import metrics, scripts
from shared.connection import Store

log = structlog.get_logger(__name__)

LIMIT = 512
"""Due monitors read at once: below 1 ms of Redis' time, so that heartbeats pass in between."""
ROUNDS = 16
"""Looks of one step, after which the sweep sees whether it shall stop."""


async def sweep(store: Store, shard: int, longest_sleep: float, stop: asyncio.Event) -> None:
    """Declares what is due until `stop` is set, sleeping until the next deadline but `longest_sleep` s at most.

    A heartbeat can only move a deadline to later than `longest_sleep` from now or belongs to a monitor that this sleep
    does not wait for, so a shorter deadline that appears meanwhile is late by `longest_sleep` at most.
    """
    while not stop.is_set():
        pause = longest_sleep
        try:
            pause = await step(store, shard, longest_sleep)
        except Exception as error:  # noqa: BLE001 - the sweep is the promise: it goes on whatever happens
            metrics.count_redis_error(error)
            log.warning("sweep failed; trying again", shard=shard, error=str(error))
        if pause > 0:
            await _sleep(stop, pause)


async def step(store: Store, shard: int, longest_sleep: float) -> float:
    """Declares what is due now; returns how many seconds to sleep, 0 when more is due already.

    In a storm the next look at the ledger is under way while the deaths of the one before are declared; those are
    passed over, for they are still in the ledger.
    """
    due, full = await _look(store, shard)
    for _ in range(ROUNDS):
        if not full:
            break
        found = set(due.ids)
        declaring = asyncio.create_task(declare(store, shard, due.ids))
        try:
            due, full = await _look(store, shard, max(0, len(due.ids) - UNDER_WAY))
        finally:
            await declaring
        due = replace(due, ids=[one for one in due.ids if one not in found])
    if due.ids:
        await declare(store, shard, due.ids)
    if full:
        return 0
    if due.stale or due.following is None:
        return longest_sleep
    if due.following <= due.now:
        return min(longest_sleep, UNHEARD_PAUSE)
    return min(longest_sleep, (due.following - due.now) / 1000 + 0.001)


async def _look(store: Store, shard: int, passed_over: int = 0) -> tuple[scripts.Due, bool]:
    """The monitors that are due, oldest first, and whether there may be more of them."""
    due = await scripts.due(store.redis, shard, LIMIT, passed_over)
    metrics.LAST_SWEEP.labels(shard).set(time.time())
    metrics.INGEST_STALE.set(due.stale)
    return due, len(due.ids) == LIMIT


async def _sleep(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        pass

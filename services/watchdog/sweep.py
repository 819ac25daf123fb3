"""The ledger: walks the `deadlines` sorted set, so that no silence is missed whatever happens to the hints."""

import asyncio
import time

import structlog

from services.watchdog.transitions import BATCH, UNHEARD_PAUSE, declare
from shared import metrics, scripts
from shared.connection import Store

log = structlog.get_logger(__name__)

LIMIT = 512
"""Due monitors read at once: below 1 ms of Redis' time, so that heartbeats pass in between."""
ROUNDS = 8
"""Looks in a storm, after which the sweep sees whether it shall stop."""


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
    """One look at the ledger; returns how many seconds to sleep, 0 when more may be due already."""
    due = await _look(store, shard)
    if len(due.ids) == LIMIT:
        await _storm(store, shard, due.ids)
        return 0
    if due.ids:
        await declare(store, shard, due.ids)
    if due.stale or due.following is None:
        return longest_sleep
    if due.following <= due.now:
        return min(longest_sleep, UNHEARD_PAUSE)
    return min(longest_sleep, (due.following - due.now) / 1000 + 0.001)


async def _storm(store: Store, shard: int, ids: list[str]) -> None:
    """Declares `ids` and what else is due; the next look at the ledger is made while what the last found is declared.

    That is still in the ledger, so the look passes over as many. Should others have declared some of it meanwhile, it
    passes over some that nobody found: the next step looks at the oldest again.
    """
    for _ in range(ROUNDS):
        passed_over = max(0, len(ids) - BATCH)
        declared, due = await asyncio.gather(
            declare(store, shard, ids), _look(store, shard, passed_over), return_exceptions=True
        )  # neither outlives this step
        if isinstance(declared, BaseException):
            raise declared
        if isinstance(due, BaseException):
            raise due
        found = set(ids)
        ids = [one for one in due.ids if one not in found]
        if len(due.ids) < LIMIT:
            break
    await declare(store, shard, ids)


async def _look(store: Store, shard: int, passed_over: int = 0) -> scripts.Due:
    """At most `LIMIT` monitors that are due, oldest first, without the oldest `passed_over`."""
    due = await scripts.due(store.redis, shard, LIMIT, passed_over)
    metrics.LAST_SWEEP.labels(shard).set(time.time())
    metrics.INGEST_STALE.set(due.stale)
    return due


async def _sleep(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        pass

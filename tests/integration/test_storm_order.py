"""In a storm the deaths are recorded first, and told afterwards: consumers make way for the watchdog."""

import asyncio
import contextlib
import json

from waiting import under_way, wait_until

from shared import keys, streams
from shared.events import MONITOR_FIELDS, NewEvent, emit

DEADLINES = keys.deadlines(0)
BATCH = 8
CROWD = round(BATCH * streams.CROWD)


class Teller:
    """A handler that keeps how many monitors were past their deadline when it was called."""

    def __init__(self, store):
        self.store = store
        self.left = []
        self.told = 0

    async def __call__(self, events):
        self.left.append(await self.store.redis.zcount(DEADLINES, "-inf", 1))
        self.told += len(events)


async def overdue(store, count):
    """So many monitors that are past their deadline for long."""
    await store.redis.zadd(DEADLINES, {f"m{n}": 1 for n in range(count)})


async def die(store, count):
    """So many deaths in the stream, as the watchdog's scripts write them."""
    for number in range(count):
        told = {"type": "monitor.dead", "at": "1", "gen": "2", "monitor": f"m{number}"}
        record = "\0".join(told.get(name, "") for name in MONITOR_FIELDS)
        await store.redis.xadd(keys.events(0), {"record": record})


@contextlib.asynccontextmanager
async def telling(store, teller, deaths, **more):
    await die(store, deaths)
    async with under_way(streams.consume(store, "notifier", "c1", teller, batch=BATCH, **more)):
        yield


async def record(store, each):
    """What a watchdog does, as far as consumers can see it."""
    while await store.redis.zremrangebyrank(DEADLINES, 0, each - 1):  # noqa: ASYNC110 - a server has no event
        await asyncio.sleep(0.05)


async def test_the_first_batch_is_told_at_once_and_the_rest_after_the_storm(store):
    """So the messages that come one by one are under way, and the deaths are not held up by the others."""
    teller = Teller(store)
    await overdue(store, 4 * streams.STORM)
    async with telling(store, teller, 3 * BATCH), asyncio.TaskGroup() as group:
        group.create_task(record(store, 100))
        await wait_until(lambda: teller.told == 3 * BATCH, "all were told")
    first, second, third = teller.left
    assert first > streams.STORM > second >= third


async def test_the_first_deaths_are_enough_to_make_way(store):
    """A consumer reads them faster than a batch becomes full."""
    teller = Teller(store)
    await overdue(store, 4 * streams.STORM)
    async with telling(store, teller, CROWD), asyncio.TaskGroup() as group:
        group.create_task(record(store, 100))
        await wait_until(lambda: teller.told == CROWD, "the first are told")
        await emit(store, [NewEvent("a.b", "{}", "another")])
        await wait_until(lambda: teller.told > CROWD, "the next is told")
    first, second = teller.left
    assert first > streams.STORM > second


async def test_what_is_no_crowd_of_deaths_makes_no_way(store, monkeypatch):
    """Single deaths, and events of applications however many: healthy cron monitors stand in the ledger as well."""
    monkeypatch.setattr(streams, "LOOK_AGAIN", 60.0)
    teller = Teller(store)
    await overdue(store, 4 * streams.STORM)
    async with telling(store, teller, CROWD - 1), asyncio.TaskGroup() as group:
        slow = group.create_task(record(store, 1))
        await wait_until(lambda: teller.told == CROWD - 1, "the single ones are told")
        await emit(store, [NewEvent("a.b", json.dumps({}), f"e{n}") for n in range(2 * BATCH)])
        await wait_until(lambda: teller.told == CROWD - 1 + 2 * BATCH, "all were told")
        slow.cancel()
    assert min(teller.left) > streams.STORM


async def test_a_storm_that_nobody_records_holds_up_nothing(store):
    """Without a watchdog, or while our own blindness keeps it from declaring, the number stands still."""
    teller = Teller(store)
    await overdue(store, 2 * streams.STORM)
    async with telling(store, teller, 3 * BATCH):
        await wait_until(lambda: teller.told == 3 * BATCH, "all were told", 3)
    assert min(teller.left) == 2 * streams.STORM


async def test_a_storm_that_is_recorded_slowly_holds_up_everything_for_so_long_and_no_longer(
    store, monkeypatch
):
    """Here three looks, for all batches together."""
    monkeypatch.setattr(streams, "LOOKS", 3)
    teller = Teller(store)
    await overdue(store, 4 * streams.STORM)
    async with telling(store, teller, 10 * BATCH), asyncio.TaskGroup() as group:
        slow = group.create_task(record(store, 1))
        await wait_until(lambda: teller.told == 10 * BATCH, "all were told", 3 * streams.LOOK_AGAIN + 0.7)
        slow.cancel()
    assert min(teller.left) > streams.STORM


async def test_a_storm_holds_up_no_takeover(store):
    """What a dead consumer had read is looked for in between."""
    teller = Teller(store)
    await overdue(store, 4 * streams.STORM)
    await emit(store, [NewEvent("a.b", "{}", "left")])
    await store.redis.xgroup_create(keys.events(0), "notifier", "0")
    await store.redis.xreadgroup("notifier", "dead", {keys.events(0): ">"})
    fast = {"take_over_ms": 200, "take_over_every": 0.2}
    async with telling(store, teller, 4 * BATCH, **fast), asyncio.TaskGroup() as group:
        slow = group.create_task(record(store, 1))
        await wait_until(lambda: teller.told == 4 * BATCH + 1, "all were told", 2.5)
        slow.cancel()
    assert min(teller.left) > streams.STORM

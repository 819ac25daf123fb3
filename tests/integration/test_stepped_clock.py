"""The clock of Redis goes ahead and comes back: nothing that was written meanwhile hides a silence afterwards."""

import asyncio
from typing import Any

import pytest
from redis.exceptions import RedisError
from waiting import wait_until

from services.watchdog import rewinding, service
from shared import keys, monitors, scripts
from shared.connection import Store, is_away
from shared.monitors import NewMonitor
from shared.settings import load

HOUR = 3_600_000


async def now_ms(store: Store) -> int:
    seconds, micros = await store.redis.time()
    return seconds * 1000 + micros // 1000


async def beaten(store: Store, kind: scripts.Kind = "ok", **settings: Any) -> str:
    """A monitor that was just beaten."""
    monitor, _ = await monitors.create(store, NewMonitor(name="worker", **settings))
    target = scripts.monitor_keys(store, monitor.id, monitor.token_hash)
    await scripts.beat(store.redis, 0, [scripts.Beat(target, kind)])
    return monitor.id


async def put_ahead(store: Store, monitor_id: str, by: int = HOUR) -> None:
    """As if its last heartbeat had come while the clock stood ahead."""
    key = keys.monitor(0, monitor_id)
    for field in ("seen", "since", "base", "started"):
        if value := await store.redis.hget(key, field):
            await store.redis.hset(key, field, int(value) + by)
    await store.redis.zincrby(keys.deadlines(0), by, monitor_id)


async def step_back(store: Store, by: int = HOUR) -> None:
    """The clock is found to have come back: the newest stamp is ahead of the one that follows."""
    await store.redis.set(keys.ingest(0), await now_ms(store) + by)
    await scripts.stamp(store.redis, 0, 10_000)


async def deadline(store: Store, monitor_id: str) -> float:
    return await store.redis.zscore(keys.deadlines(0), monitor_id) or 0


async def rewind(store: Store) -> int:
    return await rewinding.rewind(store, 0, asyncio.Event())


async def test_a_silence_is_found_within_its_timeout_after_the_clock_came_back(store: Store):
    """Not an hour later: the watchdog that runs all the while brings the deadline back and declares the death."""
    stop = asyncio.Event()
    watchdog = asyncio.create_task(service.run(store, load(expiry_hints=False), stop))
    monitor_id = await beaten(store, timeout=600)
    await put_ahead(store, monitor_id)
    await step_back(store)

    async def dead() -> bool:
        await scripts.stamp(store.redis, 0, 10_000)
        return (await monitors.get(store, monitor_id)).status == "dead"

    await wait_until(dead, "the death", timeout=4)
    stop.set()
    await watchdog
    assert not await store.redis.exists(keys.stepped(0), keys.rewinding(0))


async def test_times_that_have_not_come_are_now_and_the_deadline_counts_from_now(store: Store):
    """Timeout and grace again from the present, never less: nobody dies of our clock."""
    monitor_id = await beaten(store, timeout=600_000, grace=50_000)
    await put_ahead(store, monitor_id)
    await step_back(store)
    before = await now_ms(store)
    assert await rewind(store) == 1
    after = await now_ms(store)
    monitor = await monitors.get(store, monitor_id)
    assert before <= monitor.seen <= after
    assert before <= monitor.since <= after
    assert before + 650_000 <= await deadline(store, monitor_id) <= after + 650_000
    assert await store.redis.pttl(keys.pulse(0, monitor_id)) <= 650_000 + 4_000


async def test_what_is_plausible_stays(store: Store):
    """Deadlines of before the clock went ahead, of an uncommonly long timeout, none at all: not one is moved."""
    ids = [await beaten(store, timeout=t) for t in (1_000, 60_000, 31_536_000_000)]
    paused = await beaten(store, timeout=60_000)
    await scripts.pause_monitor(store, paused, "pause")
    never, _ = await monitors.create(store, NewMonitor(name="never beaten"))
    before = await store.redis.zrange(keys.deadlines(0), 0, -1, withscores=True)
    assert {monitor_id for monitor_id, _ in before} == {*ids, paused, never.id}
    await step_back(store)
    assert await rewind(store) == 0
    assert await store.redis.zrange(keys.deadlines(0), 0, -1, withscores=True) == before


async def test_a_run_that_began_ahead_has_its_grace_from_now(store: Store):
    """Its end is missed as soon as that of any other run."""
    monitor_id = await beaten(store, "start", timeout=600_000, grace=30_000)
    await put_ahead(store, monitor_id, by=100_000)
    await step_back(store, by=100_000)
    assert await rewind(store) == 1
    assert abs(await deadline(store, monitor_id) - await now_ms(store) - 30_000) < 2_000


async def test_a_schedule_is_judged_anew(store: Store):
    """The next time that the schedule asks for, counted from now, and not from the hour ahead."""
    monitor_id = await beaten(store, schedule="* * * * *", grace=1_000)
    await put_ahead(store, monitor_id)
    await step_back(store)
    stop = asyncio.Event()
    watchdog = asyncio.create_task(service.run(store, load(expiry_hints=False), stop))

    async def judged() -> bool:
        await scripts.stamp(store.redis, 0, 10_000)
        now = await now_ms(store)
        return now < await deadline(store, monitor_id) <= now + 61_000

    await wait_until(judged, "the next minute's deadline")
    stop.set()
    await watchdog
    assert (await monitors.get(store, monitor_id)).status == "alive"


async def test_blindness_after_the_step_is_credited_as_ever(store: Store):
    """A last heartbeat that lay ahead would count as one that came after the gap."""
    monitor_id = await beaten(store, timeout=1_000)
    await put_ahead(store, monitor_id)
    await step_back(store)
    await rewind(store)
    now = await now_ms(store)
    await store.redis.zadd(keys.gaps(0), {f"{now - 1}-{now + 900}": now + 900})
    await wait_until(lambda: _past(store, monitor_id), "its deadline passed")
    await scripts.stamp(store.redis, 0, 10_000)
    assert (await scripts.declare(store.redis, 0, {monitor_id: ""}))[1] == [-2], "put off by the gap"


async def _past(store: Store, monitor_id: str) -> bool:
    return await now_ms(store) > await deadline(store, monitor_id)


async def test_a_walk_that_is_stopped_is_taken_up_by_another(store: Store):
    """The mark stays until every monitor was looked at; of many that find it one walks."""
    ids = [await beaten(store, timeout=60_000) for _ in range(3 * rewinding.BATCH)]
    for monitor_id in ids:
        await put_ahead(store, monitor_id)
    await step_back(store)
    stop = asyncio.Event()
    stop.set()
    assert await rewinding.rewind(store, 0, stop) == 0
    assert await store.redis.exists(keys.stepped(0))
    await store.redis.delete(keys.rewinding(0))  # its lease ran out
    assert sorted(await asyncio.gather(*[rewind(store) for _ in range(5)])) == [0, 0, 0, 0, len(ids)]
    latest = await now_ms(store) + 60_000
    assert await store.redis.zcount(keys.deadlines(0), f"({latest}", "+inf") == 0
    assert await rewind(store) == 0, "it is dealt with"


@pytest.mark.parametrize(("by", "marked"), [(2_500, 1), (1_500, 0), (-60_000, 0)])
async def test_a_step_is_marked_above_two_seconds(store: Store, by: int, marked: int):
    """A clock that is nudged makes nothing later than that; one that goes ahead is a gap and no step back."""
    await step_back(store, by)
    assert await store.redis.exists(keys.stepped(0)) == marked


async def test_a_damaged_record_stops_no_walk(store: Store):
    """Whatever is wrong with one, the rest is brought back."""
    broken, sound = [await beaten(store, timeout=60_000) for _ in range(2)]
    await put_ahead(store, sound)
    await store.redis.delete(keys.monitor(0, broken))
    await store.redis.set(keys.monitor(0, broken), "no hash")
    await step_back(store)
    assert await rewind(store) == 1


async def test_a_full_batch_is_a_bounded_number_of_commands(store: Store):
    """At 2 µs a command one call stays below 5 ms."""
    ids = [await beaten(store, timeout=60_000) for _ in range(rewinding.BATCH)]
    for monitor_id in ids:
        await put_ahead(store, monitor_id)
    await scripts.rewind(store.redis, 0, [])
    before = await commands(store)
    assert await scripts.rewind(store.redis, 0, ids) == len(ids)
    assert await commands(store) - before <= 5 * len(ids) + 10


async def commands(store: Store) -> int:
    """How many commands the server has run, those inside scripts included."""
    stats = await store.redis.info("commandstats")
    return sum(entry["calls"] for entry in stats.values())


async def test_a_walk_that_the_server_refuses_to_write_is_made_again(store: Store):
    """Its memory is full: the mark of the step stays, and the deadline comes back once there is room."""
    monitor_id = await beaten(store, timeout=600_000)
    await put_ahead(store, monitor_id)
    await step_back(store)
    mark = await store.redis.get(keys.stepped(0))
    await store.redis.config_set("maxmemory", 1)
    try:
        with pytest.raises(RedisError) as told:
            await scripts.rewind(store.redis, 0, [monitor_id], forget=mark)
    finally:
        await store.redis.config_set("maxmemory", 0)
    assert is_away(told.value)
    assert await store.redis.get(keys.stepped(0)) == mark
    assert await rewind(store) == 1

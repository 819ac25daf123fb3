"""Silence becomes a transition: by hint or by sweep, once, and never through our own blindness."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from waiting import wait_until
from watching import beaten, deaths, listening, now_ms, running, status, without_short_way

from services.watchdog import expiry, sweep, transitions
from services.watchdog.transitions import declare
from shared import keys, monitors, scripts
from shared.connection import RedisClient, Store
from shared.events import unpacked
from shared.monitors import NewMonitor


async def test_a_silent_monitor_is_dead_right_after_its_deadline(store: Store) -> None:
    """The sweep alone declares it, within its longest sleep of 100 ms."""
    async with listening(store), running(store, expiry_hints=False):
        monitor_id = await beaten(store, timeout=300)
        armed = await store.redis.zscore(keys.deadlines(0), monitor_id)
        await wait_until(lambda: deaths(store), "the death")
    monitor = await monitors.get(store, monitor_id)
    assert monitor.status == "dead"
    assert monitor.since - armed < 150
    assert monitor.incident is not None


async def test_hints_alone_declare_a_death_within_two_seconds(store: Store) -> None:
    """With the sweep slowed to a minute the expiry event does it."""
    async with listening(store), running(store, sweep_interval=60):
        await wait_until(lambda: store.redis.pubsub_numpat(), "the listener's subscription")
        monitor_id = await beaten(store, timeout=300)
        await wait_until(lambda: deaths(store), "the death", timeout=2.3)
    assert await status(store, monitor_id) == "dead"


@pytest.mark.parametrize("way", ["short", "long"])
async def test_five_racing_watchdogs_declare_each_death_once(store: Store, way: str) -> None:
    """Exactly one transition and one event per change."""
    async with listening(store), running(store, count=5):
        ids = [await beaten(store, timeout=200) for _ in range(100)]
        if way == "long":
            await without_short_way(store, *ids)
        await wait_until(lambda: all_dead(store, ids), "all deaths")
        await asyncio.sleep(0.2)
    assert sorted(await deaths(store)) == sorted(ids)


async def all_dead(store: Store, ids: list[str]) -> bool:
    return all(monitor.status == "dead" for monitor in await monitors.get_many(store, ids))


async def test_nothing_is_declared_while_nobody_listens(store: Store) -> None:
    """A stale stamp holds deaths back, whichever path would find them."""
    monitor_id = await beaten(store, timeout=1)
    await store.redis.set(keys.ingest(0), 1)
    await asyncio.sleep(0.01)
    assert await sweep.step(store, 0, 0.1) == 0.1
    assert await declare(store, 0, [monitor_id]) == 0
    assert await status(store, monitor_id) == "alive"


async def test_a_gap_gives_every_deadline_it_touches_its_full_time_again(store: Store) -> None:
    """After the gap the deadline is its end + timeout + grace; then silence is death as ever."""
    monitor_id = await beaten(store, timeout=400)
    now = await now_ms(store)
    await store.redis.set(keys.ingest(0), now - 5_000)
    await asyncio.sleep(0.45)
    assert (await scripts.stamp(store.redis, 0, 10_000)).gap > 5_000
    ended = await now_ms(store)
    assert await declare(store, 0, [monitor_id]) == 0
    deadline = await store.redis.zscore(keys.deadlines(0), monitor_id)
    assert abs(deadline - (ended + 400)) < 100
    async with listening(store), running(store):
        await wait_until(lambda: deaths(store), "the death after the credit ran out")


async def test_a_gap_is_told_once_as_system_blind(store: Store) -> None:
    """Above PULSE_BLIND_AFTER an event says from when to when; a shorter gap is only credited."""
    for gap in (5_000, 20_000):
        await store.redis.set(keys.ingest(0), await now_ms(store) - gap)
        await scripts.stamp(store.redis, 0, 10_000)
        await scripts.stamp(store.redis, 0, 10_000)
    entries = await store.redis.xrange(keys.events(0))
    assert [fields["type"] for _, fields in entries] == ["system.blind"]
    assert await store.redis.zcard(keys.gaps(0)) == 2


async def test_a_cron_monitor_is_judged_by_its_schedule(store: Store) -> None:
    """A beat only records; the watchdog re-arms to the next time of the schedule plus grace."""
    async with listening(store), running(store):
        monitor_id = await beaten(store, schedule="* * * * *", timezone="Europe/Berlin", grace=1_000)
        key = keys.deadlines(0)
        await wait_until(lambda: in_the_future(store, monitor_id), "the re-armed deadline")
        deadline = int(await store.redis.zscore(key, monitor_id))
        assert (deadline - 1_000) % 60_000 == 0
        assert await status(store, monitor_id) == "alive"


async def in_the_future(store: Store, monitor_id: str) -> bool:
    return bool(await store.redis.zscore(keys.deadlines(0), monitor_id) > await now_ms(store) + 500)


async def test_a_cron_monitor_that_missed_its_time_is_dead(store: Store) -> None:
    """The first time after the last heartbeat, plus grace, has passed without one."""
    monitor_id = await beaten(store, schedule="* * * * *")
    long_ago = await now_ms(store) - 180_000
    await store.redis.hset(keys.monitor(0, monitor_id), "seen", str(long_ago))
    async with listening(store):
        await asyncio.sleep(0.01)
        assert await declare(store, 0, [monitor_id]) == 1
    assert await status(store, monitor_id) == "dead"


@pytest.mark.parametrize("kind", ["ok", "warning", "error"])
async def test_a_beat_on_a_dead_monitor_arms_it_again(store: Store, kind: scripts.Kind) -> None:
    """Recovery, or an error, from dead; the deadline stands again."""
    monitor_id = await beaten(store, timeout=1)
    await asyncio.sleep(0.01)
    async with listening(store):
        assert await declare(store, 0, [monitor_id]) == 1
    monitor = await monitors.get(store, monitor_id)
    target = scripts.monitor_keys(store, monitor_id, monitor.token_hash)
    await scripts.beat(store.redis, 0, [scripts.Beat(target, kind)])
    assert await store.redis.zscore(keys.deadlines(0), monitor_id) < 1e15
    newest = (await store.redis.xrevrange(keys.events(0), count=1))[0][1]
    assert unpacked(newest)["type"] == ("monitor.error" if kind == "error" else "monitor.recovered")


async def test_a_run_that_never_ends_is_dead_with_that_reason(store: Store) -> None:
    """A start arms its own deadline; nothing after it is `unfinished`."""
    monitor, _ = await monitors.create(store, NewMonitor(name="backup", timeout=60_000, grace=1))
    target = scripts.monitor_keys(store, monitor.id, monitor.token_hash)
    await scripts.beat(store.redis, 0, [scripts.Beat(target, "start")])
    await asyncio.sleep(0.01)
    async with listening(store):
        assert await declare(store, 0, [monitor.id]) == 1
    newest = (await store.redis.xrevrange(keys.events(0), count=1))[0][1]
    assert unpacked(newest)["reason"] == "unfinished"


async def test_a_dropped_subscription_is_taken_up_again(store: Store) -> None:
    """A listener whose connection is killed subscribes anew."""
    stop = asyncio.Event()
    task = asyncio.create_task(expiry.listen(store, stop))
    await wait_until(lambda: store.redis.pubsub_numpat(), "the subscription")
    await store.redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
    await wait_until(lambda: store.redis.pubsub_numpat(), "the new subscription")
    stop.set()
    await task


async def test_a_storm_of_hints_is_left_to_the_sweep(store: Store) -> None:
    """A listener beside a quick sweep rests from a flood of expiry events, then listens again."""
    stop = asyncio.Event()
    task = asyncio.create_task(expiry.listen(store, stop, sweep_interval=0.1))
    await wait_until(lambda: store.redis.pubsub_numpat(), "the subscription")
    pipe = store.redis.pipeline(transaction=False)
    for number in range(expiry.STORM):
        pipe.publish("__keyevent@0__:expired", keys.pulse(0, f"m{number}"))
    await pipe.execute()

    async def resting() -> bool:
        return not await store.redis.pubsub_numpat()

    await wait_until(resting, "the rest")
    await wait_until(lambda: store.redis.pubsub_numpat(), "the new subscription")
    stop.set()
    await task


@asynccontextmanager
async def foreign_keys_expire(store: Store) -> AsyncIterator[None]:
    """Another application's keys, one after another without a pause that would end the gathering."""

    async def publish() -> None:
        while True:
            pipe = store.redis.pipeline(transaction=False)
            for number in range(10):
                pipe.publish("__keyevent@0__:expired", f"session:{number}")
            await pipe.execute()

    task = asyncio.create_task(publish())
    try:
        yield
    finally:
        task.cancel()


async def test_hints_among_keys_of_others_are_heard(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A steady stream of them keeps neither a hint from being followed nor a listener from ending."""
    monkeypatch.setattr(expiry, "GATHER", 1.0)  # so that no scheduling of a busy machine makes a pause
    monkeypatch.setattr(expiry, "GATHERED", 0.1)
    followed: list[str] = []

    async def follow(_store: Store, _shard: int, ids: list[str], *, by: str) -> int:
        assert by == "hint"
        followed.extend(ids)
        return len(ids)

    monkeypatch.setattr(expiry, "declare", follow)
    stop = asyncio.Event()
    task = asyncio.create_task(expiry.listen(store, stop))
    await wait_until(lambda: store.redis.pubsub_numpat(), "the subscription")
    async with foreign_keys_expire(store):
        await store.redis.publish("__keyevent@0__:expired", keys.pulse(0, "m1"))

        async def heard() -> bool:
            return followed == ["m1"]

        await wait_until(heard, "the hint", timeout=2)
        monkeypatch.setattr(expiry, "GATHERED", 60.0)
        await asyncio.sleep(0.2)
        stop.set()
        await asyncio.wait_for(task, 2)


async def test_a_gap_before_a_run_began_does_not_excuse_it(store: Store) -> None:
    """A run counts from its start: what we missed earlier is no reason to wait longer for its end."""
    now = await now_ms(store)
    await store.redis.zadd(keys.gaps(0), {f"{now - 60_000}-{now - 30_000}": now - 30_000})
    monitor, _ = await monitors.create(store, NewMonitor(name="backup", timeout=600_000, grace=50))
    target = scripts.monitor_keys(store, monitor.id, monitor.token_hash)
    await scripts.beat(store.redis, 0, [scripts.Beat(target, "start")])
    async with listening(store), running(store):
        await wait_until(lambda: deaths(store), "the death")


async def test_a_clock_that_stepped_back_leaves_no_blindness_ahead(store: Store) -> None:
    """Neither a stamp nor a gap that lies ahead excuses a silence, and nothing is declared before the next stamp."""
    ahead = await now_ms(store) + 86_400_000
    await store.redis.set(keys.ingest(0), ahead)
    await store.redis.zadd(keys.gaps(0), {f"{ahead - 86_400_000 - 5_000}-{ahead}": ahead})
    monitor_id = await beaten(store, timeout=1)
    assert (await scripts.due(store.redis, 0, 10)).stale
    assert (await scripts.declare(store.redis, 0, {monitor_id: ""}))[1] == []
    assert (await scripts.perish(store.redis, 0, [monitor_id]))[1] == []
    async with listening(store), running(store):
        await wait_until(lambda: deaths(store), "the death")
    gaps = await store.redis.zrange(keys.gaps(0), 0, -1, withscores=True)
    assert len(gaps) == 1, "what was missed until now is still known"
    assert gaps[0][1] < ahead - 80_000_000


@pytest.mark.parametrize(
    "damage",
    [
        {"started": "yesterday", "status": "alive"},
        {"schedule": "* * * * *", "timezone": "Nowhere/Town"},
        {"schedule": "* * * * *", "created": "once"},
        {"schedule": "* * * * *", "tags": "5"},
        {"schedule": "* * * * *", "tags": "null"},
        {"schedule": "* * * * *", "grace": "9" * 25},
    ],
)
async def test_a_damaged_record_holds_up_no_other_monitor(store: Store, damage: dict[str, str]) -> None:
    """Whatever is wrong with it, the monitors due after it are declared, and it is looked at again in a minute."""
    broken = await beaten(store, timeout=1)
    await store.redis.hset(keys.monitor(0, broken), mapping=damage)  # type: ignore[misc]
    await store.redis.hdel(keys.monitor(0, broken), "card")  # type: ignore[misc]
    if damage.get("started"):
        await store.redis.set(keys.history(0, broken), "no hash")
    await store.redis.zadd(keys.deadlines(0), {broken: 1})
    other = await beaten(store, timeout=1)
    async with listening(store), running(store, expiry_hints=False):
        await wait_until(lambda: deaths(store), "the death")
    assert await deaths(store) == [other]
    again = await store.redis.zscore(keys.deadlines(0), broken) - await now_ms(store)
    assert 30_000 < again <= 60_000


async def test_a_record_of_another_type_holds_up_no_other_monitor(store: Store) -> None:
    """Those of its batch die, and it is looked at again in a minute."""
    broken, other = [await beaten(store, timeout=1) for _ in range(2)]
    await store.redis.set(keys.monitor(0, broken), "no hash")
    await store.redis.zadd(keys.deadlines(0), {broken: 1, other: 1})
    async with listening(store):
        assert await declare(store, 0, [broken, other]) == 1
    assert await deaths(store) == [other]
    assert await store.redis.zscore(keys.deadlines(0), broken) > await now_ms(store) + 30_000
    assert [monitor.id for monitor in await monitors.get_many(store, [broken, other])] == [other]


async def test_a_call_that_fails_holds_up_no_other_call(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those after it are declared, and the first error is told; a store that is away is asked nothing more."""
    ids = [await beaten(store, timeout=1) for _ in range(3)]
    await store.redis.zadd(keys.deadlines(0), dict.fromkeys(ids, 1))
    perish, asked = scripts.perish, []
    errors = {ids[0]: RuntimeError("the first"), ids[2]: RuntimeError("the third")}

    async def perish_but_some(redis: RedisClient, shard: int, batch: Sequence[str]) -> tuple[int, list[int]]:
        asked.append(*batch)
        if batch[0] in errors:
            raise errors[batch[0]]
        return await perish(redis, shard, batch)

    monkeypatch.setattr(scripts, "perish", perish_but_some)
    monkeypatch.setattr(transitions, "BATCH", 1)
    async with listening(store):
        with pytest.raises(RuntimeError, match="the first"):
            await declare(store, 0, ids)
        assert asked == ids
        assert await deaths(store) == [ids[1]]
        errors[ids[0]] = RedisConnectionError("away")
        with pytest.raises(RedisConnectionError, match="away"):
            await declare(store, 0, ids)
        assert asked == [*ids, ids[0]]


async def test_a_run_of_a_monitor_that_was_well_is_dead_with_that_reason(store: Store) -> None:
    """Its record has all that the short way asks for, and a run."""
    monitor_id = await beaten(store, timeout=60_000)
    monitor = await monitors.get(store, monitor_id)
    target = scripts.monitor_keys(store, monitor_id, monitor.token_hash)
    await scripts.beat(store.redis, 0, [scripts.Beat(target, "start")])
    await store.redis.zadd(keys.deadlines(0), {monitor_id: 1})
    async with listening(store):
        assert await declare(store, 0, [monitor_id]) == 1
    _, newest = (await store.redis.xrevrange(keys.events(0), count=1))[0]
    assert unpacked(newest)["reason"] == "unfinished"
    assert (await monitors.get(store, monitor_id)).started is None


async def test_a_change_that_changes_nothing_is_no_event(store: Store) -> None:
    """A call repeated because its answer was lost finds everything done: one event, one generation."""
    monitor_id = await beaten(store, timeout=60_000)
    for _ in range(2):
        await scripts.update_monitor(store, monitor_id, {"name": "other", "grace": "5"})
    entries = await store.redis.xrange(keys.events(0))
    assert [unpacked(fields)["type"] for _, fields in entries].count("monitor.updated") == 1


@pytest.mark.parametrize("change", ["no schedule", "a run"])
async def test_a_cron_verdict_does_not_move_another_kind_of_deadline(store: Store, change: str) -> None:
    """The schedule goes, or a run begins, while a watchdog judges: the new deadline stands."""
    monitor_id = await beaten(store, timeout=60_000, schedule="* * * * *")
    before = await monitors.get(store, monitor_id)
    if change == "a run":
        target = scripts.monitor_keys(store, monitor_id, before.token_hash)
        await scripts.beat(store.redis, 0, [scripts.Beat(target, "start")])
    else:
        await scripts.update_monitor(store, monitor_id, {"schedule": ""})
    deadline = await store.redis.zscore(keys.deadlines(0), monitor_id)
    now = await monitors.get(store, monitor_id)
    judged = scripts.CronDeadline(monitor_id, now.gen, now.seen or 0, now.since + 31_536_000_000, base=0)
    assert await scripts.rearm(store.redis, 0, [judged]) == [0]
    assert await store.redis.zscore(keys.deadlines(0), monitor_id) == deadline

"""A silence counts only up to the newest stamp: until then nobody is known to have listened."""

import asyncio

from waiting import wait_until
from watching import beaten, now_ms, running, status

from services.collector.listening import keep_stamping
from services.watchdog import sweep
from services.watchdog.transitions import declare
from shared import keys, monitors, scripts
from shared.connection import Store
from shared.settings import load


async def passed(store: Store, monitor_id: str) -> bool:
    return bool(await store.redis.zscore(keys.deadlines(0), monitor_id) < await now_ms(store))


async def test_a_deadline_after_the_newest_stamp_is_no_death(store: Store) -> None:
    """However fresh the stamp is: a collector killed a moment ago has heard nothing since. The next stamp decides."""
    await scripts.stamp(store.redis, 0, None)
    monitor_id = await beaten(store, timeout=30)
    await wait_until(
        lambda: passed(store, monitor_id), "the deadline, within the second that the stamp is fresh"
    )
    assert not (await scripts.due(store.redis, 0, 10)).stale
    assert (await scripts.due(store.redis, 0, 10)).ids == []
    assert (await scripts.declare(store.redis, 0, {monitor_id: ""}))[1] == [scripts.UNHEARD]
    assert (await scripts.perish(store.redis, 0, [monitor_id]))[1] == [scripts.UNHEARD]
    assert await status(store, monitor_id) == "alive"
    await scripts.stamp(store.redis, 0, None)
    assert (await scripts.due(store.redis, 0, 10)).ids == [monitor_id]
    assert await declare(store, 0, [monitor_id]) == 1


async def test_a_hint_waits_for_the_stamp_and_not_for_ever(store: Store) -> None:
    """Who asks for a death that no stamp has reached gets it with the next one, or nothing once the stamp is stale."""
    await scripts.stamp(store.redis, 0, None)
    late, never = await beaten(store, timeout=30), await beaten(store, timeout=60)
    await wait_until(lambda: passed(store, never), "both deadlines")
    asked = asyncio.create_task(declare(store, 0, [late], by="hint"))
    await asyncio.sleep(0.02)
    assert not asked.done()
    await scripts.stamp(store.redis, 0, None)
    assert await asked == 1
    await store.redis.set(keys.ingest(0), int(await store.redis.zscore(keys.deadlines(0), never)) - 1)
    assert await asyncio.wait_for(declare(store, 0, [never], by="hint"), 2) == 0


async def test_the_sweep_neither_sleeps_nor_spins_until_the_stamp(store: Store) -> None:
    """It looks again in a few milliseconds while a deadline has passed and no stamp has reached it."""
    await scripts.stamp(store.redis, 0, None)
    monitor_id = await beaten(store, timeout=30)
    await wait_until(lambda: passed(store, monitor_id), "the deadline")
    assert 0.002 <= await sweep.step(store, 0, 0.1) <= 0.01


async def test_a_collector_stamps_right_after_each_deadline(store: Store) -> None:
    """So waiting for the stamp costs a death no time: most of ten in a row are declared within 50 ms."""
    stamping = asyncio.create_task(keep_stamping(store, load()))
    async with running(store, expiry_hints=False):
        ids = [await beaten(store, timeout=700 + 60 * number) for number in range(10)]
        armed = {one: await store.redis.zscore(keys.deadlines(0), one) for one in ids}
        await wait_until(lambda: all_dead(store, ids), "all deaths")
    stamping.cancel()
    lags = sorted([one.since - armed[one.id] for one in await monitors.get_many(store, ids)])
    assert lags[5] < 50, lags


async def all_dead(store: Store, ids: list[str]) -> bool:
    return all(monitor.status == "dead" for monitor in await monitors.get_many(store, ids))

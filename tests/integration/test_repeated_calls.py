"""A script whose answer was lost on the way is sent again: nothing happens twice, and the answer still makes sense."""

from collections import Counter
from collections.abc import Awaitable, Callable

import pytest

from shared import claims, deliveries, delivery_history, events, keys, monitors, retry, scripts
from shared.claims import Result
from shared.connection import Store
from shared.deliveries import NewDelivery
from shared.events import NewEvent, unpacked
from shared.monitors import NewMonitor
from shared.orders import Want


@pytest.fixture
def twice(store: Store, monkeypatch: pytest.MonkeyPatch) -> Store:
    """The store with every script sent twice; callers see the second answer, as after a lost one."""

    def doubled(send: Callable[..., Awaitable[object]]) -> Callable[..., Awaitable[object]]:
        async def send_twice(*arguments: object) -> object:
            await send(*arguments)
            return await send(*arguments)

        return send_twice

    for name in ("evalsha", "eval"):
        monkeypatch.setattr(store.redis, name, doubled(getattr(store.redis, name)))
    return store


async def types(store: Store) -> Counter[str]:
    return Counter(unpacked(fields)["type"] for _, fields in await store.redis.xrange(keys.events(0)))


async def test_a_monitors_whole_life_is_one_event_per_change(twice: Store) -> None:
    """Created, beaten, edited, silent, recovered, paused, resumed, given a new token, deleted: each told once."""
    monitor, _ = await monitors.create(twice, NewMonitor(name="worker", timeout=60_000))
    target = scripts.monitor_keys(twice, monitor.id, monitor.token_hash)
    await scripts.beat(twice.redis, 0, [scripts.Beat(target, "ok")])
    await scripts.beat(twice.redis, 0, [scripts.Beat(target, "error", message="disk full")])
    await monitors.update(twice, monitor, {"name": "other"})
    await scripts.stamp(twice.redis, 0, 10_000)
    await twice.redis.zadd(keys.deadlines(0), {monitor.id: 1})
    await scripts.declare(twice.redis, 0, {monitor.id: ""})
    await scripts.beat(twice.redis, 0, [scripts.Beat(target, "warning")])
    await twice.redis.zadd(keys.deadlines(0), {monitor.id: 1})
    await scripts.perish(twice.redis, 0, [monitor.id])
    await scripts.beat(twice.redis, 0, [scripts.Beat(target, "ok")])
    await scripts.pause_monitor(twice, monitor.id, "pause")
    await scripts.pause_monitor(twice, monitor.id, "resume")
    await monitors.rotate_token(twice, monitor)
    changes = ("created", "alive", "error", "dead", "recovered", "paused", "resumed")
    twofold = dict.fromkeys(("monitor.updated", "monitor.dead", "monitor.recovered"), 2)
    assert await types(twice) == {f"monitor.{word}": 1 for word in changes} | twofold
    ids = [unpacked(fields)["id"] for _, fields in await twice.redis.xrange(keys.events(0))]
    assert len(set(ids)) == len(ids)


async def test_a_gap_and_an_event_are_recorded_once(twice: Store) -> None:
    """One gap, one `system.blind`, one entry for an application's event."""
    await twice.redis.set(keys.ingest(0), 1)
    await scripts.stamp(twice.redis, 0, 10_000)
    await events.emit(twice, [NewEvent("a.b", "{}", "one")])
    assert await types(twice) == {"system.blind": 1, "a.b": 1}
    assert await twice.redis.zcard(keys.gaps(0)) == 1


async def test_a_delivery_is_made_recorded_and_repeated_once(twice: Store) -> None:
    """The repeated creation names the delivery that the lost answer was about; a repeated record is not refused."""
    (number,) = await deliveries.create(twice, [NewDelivery("webhook:1", "e", "a.b", "{}", 1)])
    assert number is not None
    (claimed,) = await claims.claim(twice, "w", [Want("webhook:1")])
    assert claimed.deliveries == [], "the lost answer had it; it is taken back as a claim nobody knows of"
    delivery = await delivery_history.get(twice, "webhook:1", number)
    (recorded,) = await claims.record(
        twice, [Result(delivery, "w", "success", outcome=retry.Outcome(200, "fine"))]
    )
    assert recorded.accepted
    assert await twice.redis.hget(keys.of_target(0, "target", "webhook:1"), "success_count") == "1"  # type: ignore[misc]
    done = await delivery_history.get(twice, "webhook:1", number)
    assert len(await deliveries.redeliver(twice, [done])) == 1
    assert await twice.redis.zcard(keys.of_target(0, "pending", "webhook:1")) == 1

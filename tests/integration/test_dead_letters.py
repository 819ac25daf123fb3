"""A dead letter and its event are one step of the ledger: whoever dies, none stays untold and none is told twice."""

import asyncio
import json

import pytest
from waiting import wait_until

from shared import claims, deliveries, delivery_history, keys, queue, retry, workers
from shared.claims import Result
from shared.connection import Store
from shared.deliveries import NewDelivery
from shared.errors import DeliveryError
from shared.orders import Want

T = 1_800_000_000_000
BROKEN = retry.Outcome(404, error="no such chat", permanent=True)
META = '{"name": "api-worker", "note": {}}'


def new(event="e1", target="channel:3", type_="monitor.dead"):
    return NewDelivery(target, event, type_, "{}", T, meta=META)


async def take(store, target="channel:3", worker="w1", now=T):
    (claimed,) = await claims.claim(store, worker, [Want(target)], now=now)
    return claimed.deliveries


async def told(store, shard=0):
    return [fields for _, fields in await store.redis.xrange(keys.events(shard))]


async def test_the_record_that_ends_a_delivery_emits_its_event(store: Store):
    """One call of the script: nothing has to happen after it; sent again or refused, it emits nothing more."""
    await deliveries.create(store, [new()], now=T)
    (delivery,) = await take(store)
    result = Result(delivery, "w1", "dead", outcome=BROKEN)
    stranger = Result(delivery, "w2", "dead", outcome=BROKEN)
    answers = [
        (await claims.record(store, [one], now=T + 5))[0].accepted for one in (stranger, result, result)
    ]
    assert answers == [False, True, True]
    (event,) = await told(store)
    assert json.loads(event.pop("payload")) == {
        "target": "channel:3",
        "delivery_id": delivery.id,
        "event_id": "e1",
        "event_type": "monitor.dead",
        "attempts": 1,
        "error": "no such chat",
        "monitor": "api-worker",
    }
    assert event == {
        "id": f"mp.dead.channel:3.{delivery.number}",
        "type": "delivery.dead_letter",
        "at": str(T + 5),
        "about": "channel:3",
    }


@pytest.mark.parametrize("verdict", ["success", "retry", "release", "reclaim"])
async def test_what_goes_on_or_succeeds_is_no_event(store: Store, verdict):
    """Only the end without success is told."""
    await deliveries.create(store, [new()], now=T)
    (delivery,) = await take(store)
    await claims.record(store, [Result(delivery, "w1", verdict, outcome=BROKEN)], now=T)
    assert await told(store) == []


@pytest.mark.parametrize("type_", ["delivery.dead_letter", "channel.test", "webhook.test"])
async def test_a_dead_letters_dead_letter_and_a_test_are_no_events(store: Store, type_):
    """Two broken channels do not tell each other for ever; a test answers whoever asked for it."""
    await deliveries.create(store, [new(type_=type_)], now=T)
    (delivery,) = await take(store)
    await claims.record(store, [Result(delivery, "w1", "dead", outcome=BROKEN)], now=T)
    assert (await delivery_history.get(store, "channel:3", delivery.number)).status == "failed"
    assert await told(store) == []


async def test_many_of_a_digest_are_told_each_in_the_shard_of_its_target(store: Store):
    """With several shards the event is where the ledger is; every id names one delivery."""
    sharded = Store(store.redis, 5)
    shard = sharded.shard_of("channel:3")
    await deliveries.create(sharded, [new(f"e{i}") for i in range(200)], now=T)
    found = []
    while part := await claims.claim_members(sharded, "w1", "channel:3", T, now=T):
        found += part
    await claims.record(sharded, [Result(one, "w1", "dead", outcome=BROKEN) for one in found], now=T)
    events = await told(store, shard)
    assert len({event["id"] for event in events}) == len(events) == 200
    assert {json.loads(event["payload"])["event_id"] for event in events} == {f"e{i}" for i in range(200)}


async def test_a_delivery_that_kills_its_workers_is_told_when_it_ends(store: Store):
    """Its last attempt ends by the verdict of whoever finds the claim abandoned: that is a dead letter like any."""
    await deliveries.create(store, [new(), new("e2")], now=T)
    for delivery in await take(store):
        key = keys.delivery(0, "channel:3", delivery.number)
        await store.redis.hset(key, mapping={"attempt": retry.ATTEMPTS - 1, "vanished": 4})
    await workers.reclaim(store, 0, "channel", now=T + 10_000)
    events = [json.loads(event["payload"]) for event in await told(store)]
    assert [(one["event_id"], one["attempts"], one["monitor"]) for one in events] == [
        ("e1", retry.ATTEMPTS, "api-worker"),
        ("e2", retry.ATTEMPTS, "api-worker"),
    ]
    assert all("vanished" in one["error"] for one in events)


class Refused:
    """A sender that is always refused for good."""

    async def send(self, _):
        raise DeliveryError("no such chat", permanent=True, status=404)


async def test_a_worker_that_dies_after_the_record_has_told_it(store: Store, server, monkeypatch):
    """Nothing that the process does after the script is needed: it is killed at that very point."""
    stop, stopped = asyncio.Event(), asyncio.Event()
    real = claims.record

    async def then_die(*arguments, **named):
        await real(*arguments, **named)
        stopped.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(claims, "record", then_die)
    await deliveries.create(store, [new()])
    task = asyncio.create_task(queue.run_worker(store, server.url, Refused(), kind="channel", stop=stop))
    await wait_until(stopped.is_set, "the record is made")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert (await delivery_history.get(store, "channel:3", 1)).status == "failed"
    assert [event["type"] for event in await told(store)] == ["delivery.dead_letter"]

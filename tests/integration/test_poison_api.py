"""What no consumer could handle is seen by the API, and goes back into the stream once the cause is mended."""

import asyncio

import pytest
from admin_api import admin_client
from waiting import wait_until

from shared import events, keys, streams
from shared.connection import Store
from shared.events import NewEvent


@pytest.fixture
async def api(store: Store):
    async with admin_client(store) as client:
        yield client


async def aside(store: Store, **fields: str) -> str:
    """An entry as the consumer puts it aside."""
    added = {"poison_group": "notifier", "poison_entry": "1-1", "poison_error": "KeyError('at')"}
    return await store.redis.xadd(keys.poison(0), {**fields, **added})


async def test_an_entry_is_shown_with_its_group_and_reason(api, store: Store):
    """Newest first, with the fields that it had; `GET /api/system` counts it."""
    await aside(store, id="7", type="a.b")
    newest = await aside(store, id="8", type="a.b")
    found = (await api.get("/api/system/poison", params={"limit": 1})).json()
    (item,) = found["items"]
    assert found["total"] == 2
    assert (item["id"], item["shard"], item["group"], item["error"]) == (
        newest,
        0,
        "notifier",
        "KeyError('at')",
    )
    assert item["fields"] == {"id": "8", "type": "a.b"}
    assert (await api.get("/api/system")).json()["streams"][0]["poison"] == 2


async def test_a_given_back_event_is_handled_once_the_cause_is_mended(api, store: Store):
    """It is read again like any other event, and is aside no more; asking twice gives it back once."""
    await events.emit(store, [NewEvent("a.b", '{"n": 1}', "e1")])
    ((_, fields),) = await store.redis.xrange(keys.events(0))
    await store.redis.delete(keys.events(0))
    entry = await aside(store, **fields)
    handled: list[str] = []

    async def handler(batch):
        handled.extend(event.payload for event in batch)

    path = f"/api/system/poison/0/{entry}/redeliver"
    assert [(await api.post(path)).status_code for _ in range(2)] == [202, 404]
    consumer = asyncio.create_task(streams.consume(store, "notifier", "c", handler))
    await wait_until(lambda: handled, "it was handled")
    consumer.cancel()
    await asyncio.gather(consumer, return_exceptions=True)
    assert handled == ['{"n": 1}']
    assert (await api.get("/api/system/poison")).json() == {"items": [], "total": 0}


async def test_an_entry_can_be_forgotten(api, store: Store):
    """204, and 404 from then on; the other stays."""
    entry, other = await aside(store, id="7"), await aside(store, id="8")
    path = f"/api/system/poison/0/{entry}"
    assert [(await api.delete(path)).status_code for _ in range(2)] == [204, 404]
    assert [item["id"] for item in (await api.get("/api/system/poison")).json()["items"]] == [other]
    assert (await api.post("/api/system/poison/5/1-1/redeliver")).status_code == 404
    assert (await api.delete("/api/system/poison/0/now")).status_code == 422

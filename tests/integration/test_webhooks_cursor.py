"""The pull cursor: a receiver that was down takes what it missed, in order."""

import httpx
import pytest
from webhooks_api import emit, make, webhooks_client

from services.webhooks.cursor import decode
from shared import events, keys
from shared.connection import Store
from shared.events import NewEvent
from shared.schema import open_store


@pytest.fixture
async def api(store: Store):
    async with webhooks_client(store) as client:
        yield client


async def pull(api: httpx.AsyncClient, after: str = "", limit: int = 200) -> tuple[list[dict], str]:
    query = {"limit": limit, **({"after": after} if after else {})}
    answer = await api.get("/webhooks/1/events", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()["items"], answer.json()["next"]


async def test_events_come_in_order_page_by_page(store: Store, api: httpx.AsyncClient):
    """From the oldest kept, then from `next`; at the end `next` stays, and goes on when something happens."""
    await make(api, event_type="user.*")
    for number in range(25):
        await emit(
            store, f"e{number}", "user.created" if number % 5 else "ticket.created", {"n": 10**30 + number}
        )
    seen, after = [], ""
    for _ in range(10):
        items, after = await pull(api, after, 3)
        seen += items
        if not items:
            break
    assert [one["id"] for one in seen] == [f"e{n}" for n in range(25) if n % 5]
    assert seen[0].keys() == {"id", "cursor", "type", "payload", "timestamp"}
    assert seen[0]["payload"] == {"n": 10**30 + 1}
    assert await pull(api, after) == ([], after)
    await emit(store, "e99")
    items, _ = await pull(api, after)
    assert [one["id"] for one in items] == ["e99"]
    items, _ = await pull(api, seen[-2]["cursor"])
    assert [one["id"] for one in items] == [seen[-1]["id"], "e99"]


async def test_events_about_the_webhook_are_not_its_own(store: Store, api: httpx.AsyncClient):
    """What is told about a webhook is pulled by others."""
    await make(api, event_type="*")
    await events.emit(store, [NewEvent("webhook.disabled", "{}", "mp.1", about="webhook:1")])
    await events.emit(store, [NewEvent("webhook.disabled", "{}", "mp.2", about="webhook:2")])
    items, _ = await pull(api)
    assert [one["id"] for one in items] == ["mp.2"]


async def test_a_cursor_older_than_the_log_is_gone(store: Store, api: httpx.AsyncClient):
    """410 that says from where; from there everything that is kept comes."""
    await make(api, event_type="*")
    for number in range(10):
        await emit(store, f"e{number}")
    items, _ = await pull(api)
    await store.redis.xtrim(keys.events(0), maxlen=4, approximate=False)
    answer = await api.get("/webhooks/1/events", params={"after": items[2]["cursor"]})
    assert answer.status_code == 410
    first = answer.json()["first"]
    assert first in answer.json()["detail"]
    kept, _ = await pull(api, first)
    assert [one["id"] for one in kept] == ["e6", "e7", "e8", "e9"]
    assert (await pull(api))[0] == kept
    assert [one["id"] for one in (await pull(api, kept[0]["cursor"]))[0]] == ["e7", "e8", "e9"]


@pytest.mark.parametrize(
    "after", ["x", "-", "1", "1-", "1-2-3", "-1-0", "9" * 30 + "-0", "v", "vAAAA", "\0", "\u0661-\u0662"]
)
async def test_a_cursor_that_is_none_is_refused(api: httpx.AsyncClient, after: str):
    """422 with a sentence."""
    await make(api)
    answer = await api.get("/webhooks/1/events", params={"after": after})
    assert answer.status_code == 422
    assert "after" in answer.json()["detail"]


async def test_with_several_shards_every_event_comes_once_and_each_shard_in_order(store: Store):
    """The cursor is a vector: pages of any size, merged by the time of the events."""
    await store.redis.flushall()
    sharded = await open_store(store.redis, 7)
    async with webhooks_client(sharded) as api:
        await make(api, event_type="user.*")
        for number in range(120):
            await emit(sharded, f"e{number}", "user.created" if number % 3 else "ticket.created")
        seen, after = [], ""
        while True:
            items, after = await pull(api, after, 7)
            if not items:
                break
            seen += items
        assert len(decode(after, 7)) == 7
    numbers = [int(one["id"][1:]) for one in seen]
    assert sorted(numbers) == [n for n in range(120) if n % 3]
    for shard in range(7):
        mine = [n for n in numbers if sharded.shard_of(f"e{n}") == shard]
        assert mine == sorted(mine)

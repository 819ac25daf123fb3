"""The admin's channels: configured, kept secret, tested through the notifier, and their deliveries."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from admin_api import KEY, admin_client, settings
from doubles.receiver import Receiver
from servers import Server

from services.admin import channel_test
from services.notifier import service
from shared import channels_store, deliveries, keys
from shared.channels import unseal
from shared.connection import Store
from shared.deliveries import NewDelivery
from shared.secrets import SecretBox, load_key, new_key

BOT = {"bot_token": "123456:ABCDEFGH-secret", "chat_id": "-100123"}


@pytest.fixture
async def api(store: Store):
    async with admin_client(store) as client:
        yield client


@pytest.fixture
def box() -> SecretBox:
    return load_key(KEY, None)


@asynccontextmanager
async def notifier(store: Store, server: Server) -> AsyncIterator[None]:
    stop = asyncio.Event()
    chosen = settings(redis_url=server.url, allow_private_targets="127.0.0.0/8")
    running = asyncio.create_task(service.run(store, chosen, stop))
    try:
        yield
    finally:
        stop.set()
        await running


async def make(api: httpx.AsyncClient, kind: str = "telegram", config: dict | None = None, **fields) -> dict:
    body = {"name": "On call", "type": kind, "config": BOT if config is None else config, **fields}
    answer = await api.post("/api/channels", json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()


async def stored(store: Store, channel_id: int, box: SecretBox) -> dict:
    return unseal(await channels_store.get(store, channel_id), box)


async def test_a_channel_is_kept_with_its_secret_sealed(api: httpx.AsyncClient, store: Store, box: SecretBox):
    """201 with an integer id, defaults, the secret masked; Redis never sees it in the clear."""
    made = await make(api)
    assert made["id"] == 1
    assert made["events"] == ["monitor.dead", "monitor.error", "monitor.recovered"]
    assert (made["language"], made["muted"], made["success_count"]) == ("en", False, 0)
    assert made["config"] == {**BOT, "bot_token": "••••cret", "api_base": "https://api.telegram.org"}
    assert BOT["bot_token"] not in json.dumps(await store.redis.hgetall(keys.CHANNELS))
    assert (await stored(store, 1, box))["bot_token"] == BOT["bot_token"]
    assert (await api.get("/api/channels/1")).json() == made
    listed = (await api.get("/api/channels?limit=1")).json()
    assert listed == {"items": [made], "total": 1, "limit": 1, "offset": 0}


async def test_each_change_tells_every_cache(api: httpx.AsyncClient, store: Store):
    """The version grows with create, change and delete, so that a notifier reads the channels anew."""
    cache = channels_store.Channels(store)
    assert await cache.current() == {}
    made = await make(api)
    assert list(await cache.current()) == [made["id"]]
    await api.patch(f"/api/channels/{made['id']}", json={"name": "Night shift"})
    assert (await cache.current())[made["id"]].name == "Night shift"
    await api.delete(f"/api/channels/{made['id']}")
    assert await cache.current() == {}


async def test_a_secret_stays_when_it_is_absent_empty_or_masked(
    api: httpx.AsyncClient, store: Store, box: SecretBox
):
    """A form may send back what it was shown; null takes an optional secret away."""
    config = {
        "url": "https://hooks.example/x",
        "secret": "a-secret-of-some-length",
        "headers": {"X-Key": "k" * 20},
    }
    made = await make(api, "webhook", config)
    url = f"/api/channels/{made['id']}"
    assert made["config"]["headers"] == {"X-Key": "••••kkkk"}
    for patch in ({"url": "https://hooks.example/y"}, {"secret": ""}, {**made["config"], "secret": None}):
        changed = await api.patch(url, json={"config": patch})
        assert changed.status_code == 200, changed.text
        kept = await stored(store, made["id"], box)
        assert kept["headers"] == config["headers"]
        assert kept.get("secret") == (None if patch.get("secret", 0) is None else config["secret"])
    assert changed.json()["config"]["url"] == "https://hooks.example/x"
    assert changed.json()["updated_at"] >= made["updated_at"]
    changed = await api.patch(url, json={"config": {"secret": "another-secret-here"}})
    assert (await stored(store, made["id"], box))["secret"] == "another-secret-here"


async def test_a_channel_whose_key_is_lost_can_be_given_its_secret_again(
    api: httpx.AsyncClient, store: Store
):
    """It is shown with a bare mask; the mask is no secret, the secret is."""
    made = await make(api)
    url = f"/api/channels/{made['id']}"
    async with admin_client(store, secret_key=new_key()) as other:
        shown = (await other.get(url)).json()
        assert shown["config"]["bot_token"] == "••••"
        for config in ({}, {"chat_id": "1"}, shown["config"]):
            assert (await other.patch(url, json={"config": config})).status_code == 422
        assert (await other.patch(url, json={"config": {"bot_token": "123:new"}})).status_code == 200


async def test_a_patch_changes_what_it_names(api: httpx.AsyncClient):
    """Name, events, language and muted; the type cannot change; null puts the events back."""
    made = await make(api)
    url = f"/api/channels/{made['id']}"
    changed = await api.patch(
        url, json={"name": "Ночь", "language": "ru", "events": ["monitor.*"], "muted": True}
    )
    expected = {"name": "Ночь", "language": "ru", "events": ["monitor.*"], "muted": True}
    assert {name: changed.json()[name] for name in expected} == expected
    assert changed.json()["config"] == made["config"]
    assert (await api.patch(url, json={"type": "telegram", "events": None})).json()["events"] == made[
        "events"
    ]
    refused = await api.patch(url, json={"type": "email"})
    assert (refused.status_code, "telegram" in refused.json()["detail"]) == (422, True)
    assert (await api.patch("/api/channels/99", json={})).status_code == 404


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"name": " "}, "name"),
        ({"type": "pigeon"}, "type"),
        ({"config": {}}, "config.bot_token"),
        ({"config": {**BOT, "chat": 1}}, "config.chat"),
        ({"config": {**BOT, "\ud800": 1}}, "config"),
        ({"config": {**BOT, "chat_id": "\ud800"}}, "config"),
        ({"config": {**BOT, "chat_id": [1]}}, "config.chat_id"),
        ({"config": {**BOT, "bot_token": "••••cret"}}, "config.bot_token"),
        ({"config": {**BOT, "api_base": "ftp://x"}}, "config.api_base"),
        ({"config": []}, "config"),
        ({"type": "email", "config": {"to": ["nobody"]}}, "config.to"),
        ({"type": "email", "config": {"to": ["a@b.example"], "smtp_url": "http://x"}}, "config.smtp_url"),
        ({"type": "webhook", "config": {"url": "not a url"}}, "config.url"),
        ({"type": "webhook", "config": {"url": "http://[::1"}}, "config.url"),
        ({"type": "webhook", "config": {"url": "http://x/", "headers": {"Host": "y"}}}, "Host"),
        ({"type": "webhook", "config": {"url": "http://x/", "headers": {"X-\ud800": "y"}}}, "config"),
        ({"type": "apprise", "config": {"url": "slack://••••"}}, "config.url"),
        ({"events": ["monitor"]}, "events"),
        ({"events": ["*", "Monitor.*"]}, "events"),
        ({"events": ["\ud800"]}, "events"),
        ({"language": "de"}, "language"),
        ({"muted": "yes"}, "muted"),
    ],
)
async def test_what_is_wrong_is_named_and_no_secret_echoed(api: httpx.AsyncClient, fields: dict, words: str):
    """422 with a sentence about the field that does not repeat the config's values."""
    body = json.dumps({"name": "x", "type": "telegram", "config": BOT, **fields})
    answer = await api.post("/api/channels", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422, answer.text
    assert words in answer.json()["detail"]
    assert BOT["bot_token"] not in answer.text
    assert (await api.get("/api/channels")).json()["total"] == 0


async def test_a_test_message_goes_out_through_the_notifier(
    api: httpx.AsyncClient, store: Store, server: Server
):
    """What happened comes back: the status, or why not; a failed test is not tried again and tells nobody else."""
    async with Receiver() as receiver, notifier(store, server):
        good = await make(api, "webhook", {"url": f"{receiver.url}/"})
        told = (await api.post(f"/api/channels/{good['id']}/test")).json()
        assert (told["ok"], told["status"], told["response_status"], told["error"]) == (
            True,
            "success",
            200,
            None,
        )
        body = json.loads(receiver.journal.received[0]["body"])
        assert body["type"] == "channel.test"
        assert "On call" in body["text"]
        bad = await make(api, "webhook", {"url": f"{receiver.url}/status/503"}, events=["*"])
        told = (await api.post(f"/api/channels/{bad['id']}/test")).json()
        assert (told["ok"], told["status"], told["response_status"]) == (False, "failed", 503)
        assert told["error"]
    assert "delivery.dead_letter" not in [
        fields["type"] for _, fields in await store.redis.xrange(keys.events(0))
    ]
    page = (await api.get(f"/api/channels/{bad['id']}/deliveries?status=failed")).json()
    assert [item["event_type"] for item in page["items"]] == ["channel.test"]
    assert (await api.get(f"/api/channels/{bad['id']}")).json()["failure_count"] == 1


async def test_a_test_without_a_notifier_says_so(api: httpx.AsyncClient, store: Store, monkeypatch):
    """After the wait: pending, and a sentence that asks for the notifier."""
    made = await make(api)
    told = await channel_test.send_test(store, await channels_store.get(store, made["id"]), wait_s=0.05)
    assert (told.ok, told.status) == (False, "pending")
    assert "notifier" in told.error
    assert (await api.post("/api/channels/99/test")).status_code == 404


async def test_deliveries_are_listed_shown_and_repeated(api: httpx.AsyncClient, store: Store):
    """Newest first, by status; payloads survive with any integer or surrogate; only finished ones are repeated."""
    made = await make(api)
    target = f"channel:{made['id']}"
    payload = '{"big": 123456789012345678901234567890, "odd": "\\ud800"}'
    items = [NewDelivery(target, f"e{n}", "payment.done", payload, 1_000, incident="m.1") for n in range(3)]
    ids = await deliveries.create(store, items)
    url = f"/api/channels/{made['id']}/deliveries"
    page = await api.get(f"{url}?limit=2&offset=1")
    assert page.status_code == 200
    assert "123456789012345678901234567890" in page.text
    assert [item["id"] for item in page.json()["items"]] == [ids[1], ids[0]]
    assert page.json()["total"] == 3
    one = (await api.get(f"{url}/{ids[0]}")).json()
    assert one["payload"]["odd"] == "?"
    assert (one["status"], one["attempts"], one["incident_id"]) == ("pending", [], "m.1")
    assert one["next_retry_at"]
    assert (await api.get(f"{url}?status=success")).json()["items"] == []
    assert (await api.get(f"{url}?status=lost")).status_code == 422
    assert (await api.post(f"{url}/{ids[0]}/redeliver")).status_code == 409
    for wrong in (ids[2] + 1, 2**53):
        assert (await api.get(f"{url}/{wrong}")).status_code == 404
    assert (await api.get(f"{url}/{'9' * 30}")).status_code == 422


async def test_a_deleted_channel_takes_its_deliveries_along(api: httpx.AsyncClient, store: Store):
    """204, then 404; only the tombstone that refuses late deliveries is left, and goes after a day."""
    made = await make(api)
    await deliveries.create(store, [NewDelivery(f"channel:{made['id']}", "e1", "monitor.dead", "{}", 1)])
    assert (await api.delete(f"/api/channels/{made['id']}")).status_code == 204
    for method, path in (("GET", ""), ("DELETE", ""), ("GET", "/deliveries"), ("POST", "/test")):
        assert (await api.request(method, f"/api/channels/{made['id']}{path}")).status_code == 404
    left = [key for key in await store.redis.keys("mp:*") if f"channel:{made['id']}" in key]
    assert left == [keys.of_target(0, "target", f"channel:{made['id']}")]
    assert await store.redis.pttl(left[0]) > 0
    assert (await make(api))["id"] == made["id"] + 1

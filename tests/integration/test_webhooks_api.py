"""Webhooks as admin front ends manage them: the shapes and rules of CONTRACT 4."""

import httpx
import pytest
from webhooks_api import make, webhooks_client

from services.webhooks import subscriptions
from shared import auth, keys
from shared.connection import Store, connect

FIELDS = {
    "id", "name", "url", "event_type", "is_active", "description", "created_at", "updated_at",
    "last_triggered_at", "failure_count", "success_count",
}  # fmt: skip


@pytest.fixture
async def api(store: Store):
    async with webhooks_client(store) as client:
        yield client


async def test_a_new_webhook_has_every_field_and_no_secret(api: httpx.AsyncClient, store: Store):
    """201 with integer ids that grow, counts of 0 and never the secret, which Redis has encrypted."""
    made = await make(api, secret="hush-hush-hush", description="to the CRM")
    assert made.keys() >= FIELDS
    assert {name: made[name] for name in ("id", "is_active", "description", "last_triggered_at")} == {
        "id": 1,
        "is_active": True,
        "description": "to the CRM",
        "last_triggered_at": None,
    }
    assert made["failure_count"] == made["success_count"] == 0
    assert made["created_at"] == made["updated_at"]
    assert made["created_at"].endswith("Z")
    assert "secret" not in made
    stored = await store.redis.hget(keys.WEBHOOKS, "1")
    assert "hush" not in stored
    assert (await make(api))["id"] == 2
    assert (await api.get("/webhooks/1")).json() == made


async def test_lists_are_newest_first_with_filters_and_totals(api: httpx.AsyncClient):
    """`event_type` and `is_active` filter; `total` counts all that match, not the page."""
    for number in range(5):
        await make(api, name=f"w{number}", event_type="payment.completed" if number % 2 else "user.created")
    await api.patch("/webhooks/1", json={"is_active": False})
    everything = (await api.get("/webhooks")).json()
    assert [item["id"] for item in everything["items"]] == [5, 4, 3, 2, 1]
    assert (everything["total"], everything["limit"], everything["offset"]) == (5, 50, 0)
    page = (await api.get("/webhooks", params={"limit": 2, "offset": 1})).json()
    assert ([item["id"] for item in page["items"]], page["total"]) == ([4, 3], 5)
    payments = (await api.get("/webhooks", params={"event_type": "payment.completed"})).json()
    assert ([item["id"] for item in payments["items"]], payments["total"]) == ([4, 2], 2)
    off = (await api.get("/webhooks", params={"is_active": "false"})).json()
    assert [item["id"] for item in off["items"]] == [1]
    both = {"event_type": "user.created", "is_active": "true"}
    assert [item["id"] for item in (await api.get("/webhooks", params=both)).json()["items"]] == [5, 3]
    assert (await api.get("/webhooks", params={"offset": 100})).json()["items"] == []
    cleared = (await api.get("/webhooks", params={"event_type": "", "is_active": ""})).json()
    assert cleared == everything
    assert (await api.get("/webhooks/1/deliveries", params={"status": ""})).json()["total"] == 0


async def test_patch_accepts_the_whole_form_that_a_front_end_sends_back(api: httpx.AsyncClient, store: Store):
    """Unknown and unchanged fields are accepted, an empty secret changes nothing, null removes it."""
    made = await make(api, secret="first-secret")
    form = {**made, "name": "renamed", "secret": "", "description": None, "url": "https://example.com/new"}
    changed = (await api.patch("/webhooks/1", json=form)).json()
    assert (changed["name"], changed["url"], changed["description"]) == ("renamed", form["url"], None)
    assert changed["updated_at"] > made["updated_at"]
    assert changed["created_at"] == made["created_at"]
    sealed = (await subscriptions.get(store, 1)).secret
    assert sealed
    assert (await api.patch("/webhooks/1", json={})).json()["name"] == "renamed"
    assert (await subscriptions.get(store, 1)).secret == sealed
    await api.patch("/webhooks/1", json={"secret": "second-secret"})
    assert (await subscriptions.get(store, 1)).secret not in ("", sealed)
    await api.patch("/webhooks/1", json={"secret": None})
    assert (await subscriptions.get(store, 1)).secret == ""
    answer = await api.patch("/webhooks/1", json={"event_type": "user.deleted"})
    assert answer.status_code == 422
    assert "user.created" in answer.json()["detail"]


async def test_two_changes_at_once_are_both_kept(api: httpx.AsyncClient, store: Store):
    """Each change works on what is there: of two that race none is lost."""
    await make(api)
    stale = await subscriptions.get(store, 1)
    await api.patch("/webhooks/1", json={"name": "first"})
    raced = []

    def edit(webhook):
        raced.append(webhook.name)
        return webhook

    assert (await subscriptions.change(store, 1, edit)).name == "first"
    assert raced == ["first"]
    assert stale.name == "crm"


async def test_a_deleted_webhook_is_gone_with_its_deliveries(api: httpx.AsyncClient, store: Store):
    """204, then 404 everywhere; its id is never given out again and no key of it is left but a tombstone."""
    await make(api)
    assert (await api.delete("/webhooks/1")).status_code == 204
    for method, path in (
        ("GET", ""),
        ("PATCH", ""),
        ("DELETE", ""),
        ("GET", "/deliveries"),
        ("GET", "/events"),
    ):
        answer = await api.request(method, f"/webhooks/1{path}", json={} if method == "PATCH" else None)
        assert answer.status_code == 404, (method, path)
        assert answer.json()["detail"]
    for path in ("test", "rotate-secret", "deliveries/1/redeliver"):
        assert (await api.post(f"/webhooks/1/{path}")).status_code == 404, path
    assert (await api.post("/webhooks/1/recover", json={"since": "2025-01-01"})).status_code == 404
    assert (await make(api))["id"] == 2
    left = [key async for key in store.redis.scan_iter("*webhook:1*")]
    assert left == [keys.of_target(0, "target", "webhook:1")]
    assert await store.redis.ttl(left[0]) > 0


BAD = [
    ({"url": "ftp://example.com/"}, "http"),
    ({"url": "example.com"}, "http"),
    ({"url": "http://user:secret@example.com/"}, "password"),
    ({"url": "http://"}, "host"),
    ({"url": "http://[::1/"}, "host"),
    ({"url": "http://example.com/" + "x" * 2_048}, "2048"),
    ({"url": ""}, "url"),
    ({"url": None}, "url"),
    ({"event_type": "user"}, "event type"),
    ({"event_type": "User.Created"}, "event type"),
    ({"event_type": "user.*.x"}, "event type"),
    ({"event_type": "x." + "y" * 49}, "event type"),
    ({"event_type": ""}, "event type"),
    ({"name": ""}, "name"),
    ({"name": "x" * 256}, "name"),
    ({"name": 7}, "name"),
    ({"name": "a\0b"}, "NUL"),
    ({"secret": "x" * 129}, "secret"),
    ({"is_active": "yes"}, "is_active"),
]


@pytest.mark.parametrize(("fields", "word"), BAD, ids=[str(bad)[:40] for bad, _ in BAD])
async def test_bad_fields_get_a_clear_sentence(api: httpx.AsyncClient, fields: dict, word: str):
    """422 with a sentence that names what is wrong and never what was sent as a secret."""
    body = {"name": "x", "url": "http://example.com/", "event_type": "user.created", **fields}
    answer = await api.post("/webhooks", json=body)
    assert answer.status_code == 422, answer.text
    detail = answer.json()["detail"]
    assert word.lower() in detail.lower()
    assert "secret@" not in detail


@pytest.mark.parametrize(
    "body",
    ['{"name": "\\ud800", "url": "http://a/", "event_type": "a.b"}', "[1]", "{", "nul", '"x"', "{}", ""],
)
async def test_a_body_that_is_none_is_refused(api: httpx.AsyncClient, body: str):
    """Whatever the body is, the answer is a sentence, never a 5xx."""
    answer = await api.post("/webhooks", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422)
    assert answer.json()["detail"]


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=201",
        "limit=x",
        "offset=-1",
        "offset=99999999999999999999",
        "is_active=maybe",
        "limit=",
    ],
)
async def test_bad_paging_gets_a_clear_sentence(api: httpx.AsyncClient, query: str):
    """422 that names the parameter, in lists of webhooks and of deliveries."""
    await make(api)
    answer = await api.get(f"/webhooks?{query}")
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith(query.split("=", maxsplit=1)[0])
    if not query.startswith("is_active"):
        assert (await api.get(f"/webhooks/1/deliveries?{query}")).status_code == 422
    assert (await api.get("/webhooks/1/deliveries?status=lost")).status_code == 422


@pytest.mark.parametrize("path", ["0", "-1", "x", "1.5", "9" * 400, "99999"])
async def test_odd_ids_are_not_found_or_not_valid(api: httpx.AsyncClient, path: str):
    """404 or 422, never a 5xx."""
    for url in (f"/webhooks/{path}", f"/webhooks/{path}/deliveries", f"/webhooks/1/deliveries/{path}"):
        assert (await api.get(url)).status_code in (404, 422)


async def test_who_may_do_what(store: Store):
    """Nobody and strangers get 401, `read` may look and gets 403 for changes, `admin` may do both."""
    _, reader = await auth.create_api_token(store, "reader", {"read"})
    _, ingester = await auth.create_api_token(store, "app", {"ingest"})
    body = {"name": "x", "url": "http://example.com/", "event_type": "user.created"}
    expected = {"": (401, 401), "wrong": (401, 401), reader: (200, 403), ingester: (403, 403)}
    for token, (look, change) in expected.items():
        async with webhooks_client(store, token=token) as api:
            assert (await api.get("/webhooks")).status_code == look
            answer = await api.post("/webhooks", json=body)
            assert answer.status_code == change
            assert answer.json()["detail"]
    async with webhooks_client(store, token="") as api:
        assert (await api.get("/webhooks", headers={"X-API-Key": reader})).status_code == 200


async def test_event_types_offer_those_of_the_field_and_our_own(api: httpx.AsyncClient):
    """Each has value, label and description; everything offered can be subscribed to."""
    offered = (await api.get("/webhooks/event-types")).json()
    values = [one["value"] for one in offered]
    assert values[:6] == [
        "user.created",
        "payment.completed",
        "transaction.created",
        "ticket.created",
        "ticket.status_changed",
        "ticket.message_added",
    ]
    assert {"monitor.dead", "monitor.recovered", "webhook.disabled"} <= set(values)
    assert all(one.keys() == {"value", "label", "description"} and all(one.values()) for one in offered)
    for value in values:
        await make(api, event_type=value)


async def test_stats_of_nothing_are_zero(api: httpx.AsyncClient):
    """No webhook and no delivery: every number is 0."""
    assert (await api.get("/webhooks/stats")).json() == {
        "total_webhooks": 0,
        "active_webhooks": 0,
        "total_deliveries": 0,
        "successful_deliveries": 0,
        "failed_deliveries": 0,
        "success_rate": 0.0,
    }


async def test_a_front_end_of_another_origin_may_ask(store: Store):
    """PULSE_CORS_ORIGINS opens /webhooks to it, and to no other."""
    ask = {"Access-Control-Request-Method": "PATCH", "Access-Control-Request-Headers": "authorization"}
    async with webhooks_client(store, cors_origins="https://front.example") as api:
        good = await api.options("/webhooks/1", headers={"Origin": "https://front.example", **ask})
        bad = await api.options("/webhooks/1", headers={"Origin": "https://other.example", **ask})
    assert good.headers["access-control-allow-origin"] == "https://front.example"
    assert "access-control-allow-origin" not in bad.headers


async def test_a_body_that_is_too_large_is_refused(api: httpx.AsyncClient):
    """413 above 1 MiB, before anything is read into memory."""
    body = {"name": "x" * 2_000_000, "url": "http://example.com/", "event_type": "a.b"}
    assert (await api.post("/webhooks", json=body)).status_code == 413


async def test_without_redis_it_says_so(store: Store):
    """503 with Retry-After and a sentence, wherever Redis is needed."""
    nowhere = Store(connect("unix:///nowhere"))
    async with webhooks_client(nowhere) as api:
        for method, path in (
            ("GET", "/webhooks"),
            ("GET", "/webhooks/1/events"),
            ("POST", "/webhooks/1/test"),
        ):
            answer = await api.request(method, path)
            assert answer.status_code == 503, path
            assert answer.headers["Retry-After"]
            assert answer.json()["detail"]

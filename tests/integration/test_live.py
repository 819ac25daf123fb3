"""`/ws`: who may listen, what is said, and how it ends."""

import asyncio
import json
import logging

import httpx
import pytest
from live_client import closed, listen, live_app, said
from waiting import wait_until
from webhooks_api import ADMIN_TOKEN, emit
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from services.webhooks import hub as hub_module
from services.webhooks import live_client
from shared import auth, sessions
from shared.connection import Store


@pytest.fixture
async def live(store: Store):
    async with live_app(store) as (url, _):
        yield url


async def test_an_event_is_told_with_its_payload_as_it_is(store: Store, live: str):
    """type, payload, timestamp, id and cursor; an integer of 30 digits and text of any script survive."""
    async with listen(live) as client:
        payload = {"n": 123456789012345678901234567890, "ключ": "☎", "nested": {"f": 0.1, "null": None}}
        await emit(store, "e1", "user.created", payload)
        message = await said(client)
    assert message.keys() == {"type", "payload", "timestamp", "id", "cursor"}
    assert (message["type"], message["id"], message["payload"]) == ("user.created", "e1", payload)
    assert message["timestamp"].endswith("Z")


@pytest.mark.parametrize("way", ["token", "api_key", "bearer", "x-api-key"])
async def test_a_token_opens_the_door_in_every_way(live: str, way: str):
    """`?token=`, `?api_key=`, `Authorization: Bearer` and `X-API-Key` are the same."""
    headers = {"bearer": {"Authorization": f"Bearer {ADMIN_TOKEN}"}, "x-api-key": {"X-API-Key": ADMIN_TOKEN}}
    async with listen(live, headers=headers.get(way), **({} if way in headers else {way: ADMIN_TOKEN})):
        pass


async def test_pings_are_answered_and_all_else_is_ignored(store: Store, live: str):
    """However many pings; text that is no JSON, other types, lists and bytes change nothing."""
    async with listen(live) as client:
        for nonsense in (
            "x",
            "[]",
            '{"type": "subscribe"}',
            "ping",
            '"ping"',
            '["ping"]',
            "[" * 100_000,
            b"\xff",
        ):
            await client.send(nonsense)
        for _ in range(50):
            await client.send('{"type": "ping"}')
        for _ in range(50):
            assert await said(client) == {"type": "pong"}
        await emit(store, "e1")
        assert (await said(client))["id"] == "e1"


async def test_a_filter_lets_through_what_it_names(store: Store, live: str):
    """`?events=` takes types and patterns, comma-separated; without it everything comes."""
    async with listen(live, events="monitor.*, ticket.created") as some, listen(live) as everything:
        for number, kind in enumerate(("user.created", "ticket.created", "ticket.closed", "monitor.dead")):
            await emit(store, f"e{number}", kind)
        assert [(await said(some))["id"] for _ in range(2)] == ["e1", "e3"]
        assert [(await said(everything))["id"] for _ in range(4)] == ["e0", "e1", "e2", "e3"]


@pytest.mark.parametrize(
    "query", [{"events": "Monitor"}, {"last_event_id": "yesterday"}, {"last_event_id": "1"}]
)
async def test_wishes_that_make_no_sense_are_refused_with_a_reason(live: str, query: dict):
    """1008 and a sentence, instead of a client that waits for nothing."""
    async with listen(live, greet=False, **query) as client:
        code, reason = await closed(client)
    assert code == 1008
    assert reason


async def test_strangers_are_closed_with_a_reason_and_then_not_even_let_in(store: Store, live: str):
    """Accepted and closed with 1008, five times; then the handshake answers 429; a valid token still gets in."""
    _, ingest = await auth.create_api_token(store, "app", {"ingest"})
    queries = ["", "?token=", "?token=wrong", "?ticket=mpt_old", f"?token={ingest}"]
    reasons = []
    for query in queries:
        async with connect(f"{live}{query}") as client:
            code, reason = await closed(client)
            assert code == 1008
            reasons.append(reason)
    assert len(set(reasons)) >= 4
    with pytest.raises(InvalidStatus) as refused:
        async with connect(f"{live}?token=wrong"):
            pass
    assert refused.value.response.status_code == 429
    assert refused.value.response.headers["Retry-After"]
    async with listen(live):
        pass


async def test_a_ticket_admits_once(store: Store, live: str):
    """POST /ws/ticket asks for `read`; the ticket works as `?ticket=` for one connection, and in the token's name."""
    _, token = await auth.create_api_token(store, "reader", {"read"})
    base = live.replace("ws://", "http://").removesuffix("/ws")
    async with httpx.AsyncClient(base_url=base) as http:
        assert (await http.post("/ws/ticket")).status_code == 401
        answer = await http.post("/ws/ticket", headers={"Authorization": f"Bearer {token}"})
    assert answer.json()["expires_in"] == 30
    ticket = answer.json()["ticket"]
    async with listen(live, ticket=ticket):
        pass
    async with listen(live, ticket=ticket, greet=False) as again:
        assert (await closed(again))[0] == 1008
    ttl = await store.redis.ttl((await store.redis.keys("mp:{c}:ticket:*") or ["none"])[0])
    assert ttl == -2


async def test_a_revoked_token_drops_its_clients_within_five_seconds(store: Store, live: str):
    """1008 for those by token and by its ticket; others stay."""
    made, token = await auth.create_api_token(store, "reader", {"read"})
    base = live.replace("ws://", "http://").removesuffix("/ws")
    async with httpx.AsyncClient(base_url=base) as http:
        answer = await http.post("/ws/ticket", headers={"Authorization": f"Bearer {token}"})
    async with (
        listen(live, token=token) as client,
        listen(live, ticket=answer.json()["ticket"]) as other,
        listen(live) as admin,
    ):
        await auth.delete_api_token(store, made.id)
        assert await closed(client, 5) == (1008, "the token was revoked")
        assert (await closed(other, 5))[0] == 1008
        await admin.send('{"type": "ping"}')
        assert await said(admin) == {"type": "pong"}


async def test_past_the_limit_clients_are_turned_away(store: Store):
    """1013 past PULSE_WS_MAX_CLIENTS; who leaves makes room."""
    async with live_app(store, ws_max_clients=2) as (url, app), listen(url):
        async with listen(url), listen(url, greet=False) as third:
            assert (await closed(third))[0] == 1013
        await wait_until(lambda: len(app.live.hub.clients) == 1, "one has left")
        async with listen(url):
            pass


@pytest.mark.timeout(60)
async def test_a_client_that_does_not_read_is_closed_and_others_are_not(
    store: Store, monkeypatch: pytest.MonkeyPatch
):
    """Its buffer is bounded: 1013 when it is full, and it can resume from where it stopped reading."""
    monkeypatch.setattr(live_client, "MAX_WAITING", 200)
    payload = {"text": "x" * 20_000}
    async with live_app(store) as (url, app), listen(url) as good:
        address = f"{url}?token={ADMIN_TOKEN}"
        async with connect(address, compression=None, max_queue=1) as slow:
            await wait_until(lambda: len(app.live.hub.clients) == 2, "both listen")
            seen, number = [], 0

            async def read() -> None:
                async for text in good:
                    seen.append(json.loads(text)["id"])  # noqa: PERF401 - others look at it meanwhile

            reading = asyncio.create_task(read())
            while len(app.live.hub.clients) == 2:
                await asyncio.gather(*[emit(store, f"e{number + i}", payload=payload) for i in range(20)])
                number += 20
                assert number < 3_000
                await wait_until(lambda: len(seen) >= number - 20, "the good one reads")  # noqa: B023
            got = []
            with pytest.raises(Exception, match="1013"):  # noqa: PT012
                while True:
                    got.append(json.loads(await slow.recv()))
        await wait_until(lambda: len(seen) == number, "the good one has read all")
        events = [one for one in got if one["type"] != "connection"]
        async with listen(url, last_event_id=events[-1]["cursor"]) as again:
            rest = [(await said(again))["id"] for _ in range(number - len(events))]
        assert [one["id"] for one in events] + rest == seen
        reading.cancel()


async def test_sessions_listen_from_our_own_pages_only(store: Store):
    """A cookie session needs an Origin of ours: the host it connects to, or the public URL; a token needs none."""
    made, _ = await auth.create_api_token(store, "somebody", {"read"})
    cookie = await sessions.start(store, made)
    async with live_app(store, public_url="https://pulse.example") as (url, _):
        host = url.split("/")[2]
        for origin in (f"http://{host}", "https://pulse.example"):
            async with listen(url, headers={"Cookie": f"{sessions.COOKIE}={cookie}", "Origin": origin}):
                pass
        refused = (
            {"Cookie": f"{sessions.COOKIE}={cookie}", "Origin": "https://evil.example"},
            {"Cookie": f"{sessions.COOKIE}={cookie}"},
            {"Cookie": f"{sessions.COOKIE}=bad", "Origin": f"http://{host}"},
        )
        for headers in refused:
            async with listen(url, headers=headers, greet=False) as client:
                assert (await closed(client))[0] == 1008
        async with listen(url, headers={"Origin": "https://evil.example", "X-API-Key": ADMIN_TOKEN}):
            pass
        headers = {"Cookie": f"{sessions.COOKIE}={cookie}", "Origin": f"http://{host}"}
        async with listen(url, headers=headers) as client:
            await sessions.end(store, {sessions.COOKIE: cookie})
            assert (await closed(client, 5))[0] == 1008


async def test_no_log_line_ever_has_the_token(store: Store, caplog: pytest.LogCaptureFixture):
    """Not even uvicorn's own line about the connection: the address it sees has no query. (Its DEBUG lines, with the
    raw request, are switched off by `shared.logs` at any level.)
    """
    caplog.set_level(logging.INFO)
    caplog.set_level(logging.DEBUG, "services")
    async with live_app(store) as (url, _):
        async with listen(url, token=ADMIN_TOKEN):
            pass
        async with listen(url, token="mp_wrong-token-of-somebody", greet=False) as client:
            await closed(client)
    ours = [
        record.getMessage() for record in caplog.records if not record.name.startswith("websockets.client")
    ]
    assert any("WebSocket /ws" in line for line in ours)
    for line in ours:
        assert ADMIN_TOKEN not in line
        assert "mp_wrong-token" not in line


async def test_a_plain_request_is_told_to_upgrade(live: str):
    """GET /ws without a handshake: 426."""
    async with httpx.AsyncClient() as http:
        answer = await http.get(live.replace("ws://", "http://"))
    assert answer.status_code == 426


async def test_nothing_is_read_while_nobody_listens(store: Store):
    """The tail sleeps until the first client comes and begins at the end of the stream."""
    async with live_app(store) as (url, app):
        await emit(store, "old")
        assert app.live.hub.position == ()
        async with listen(url) as client:
            await emit(store, "new")
            assert (await said(client))["id"] == "new"
        assert hub_module.BLOCK_MS < 5_000

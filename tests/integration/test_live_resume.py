"""`/ws` resumed: no gap, no repetition, whatever happened in between."""

import asyncio
import json
import random

import pytest
from live_client import listen, live_app, said
from servers import Server
from waiting import wait_until
from webhooks_api import ADMIN_TOKEN, emit
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from services.webhooks.cursor import decode
from services.webhooks.hub import Hub
from services.webhooks.live_client import Client
from shared import events, keys
from shared.connection import Store
from shared.connection import connect as connect_redis
from shared.events import NewEvent
from shared.schema import open_store

EVENTS = 10_000
RECONNECTS = 200


async def produce(store: Store, count: int, browser: "Browser", reconnects: int) -> None:
    """Events in small batches, spread evenly over the browser's reconnections."""
    for start in range(0, count, 20):
        wanted = start * reconnects / count
        await wait_until(lambda: browser.connections >= wanted, "it reconnects", 20)  # noqa: B023 - at once
        batch = [NewEvent("user.created", f'{{"n": {i}}}', f"e{i}") for i in range(start, start + 20)]
        await events.emit(store, batch)


class Browser:
    """A page that reconnects with the cursor of the last message it saw."""

    def __init__(self, url: str, rng: random.Random) -> None:
        self.url, self.rng = url, rng
        self.seen: list[str] = []
        self.connections = 0
        self.cursor = ""

    async def visit(self, until: int) -> None:
        """One connection: takes messages until `until` have been seen in all, or for a random while."""
        self.connections += 1
        query = f"?token={ADMIN_TOKEN}" + (f"&last_event_id={self.cursor}" if self.cursor else "")
        async with connect(
            self.url + query, compression=None, max_queue=self.rng.choice((4, 64, None)), close_timeout=0.1
        ) as client:
            patience = self.rng.random() * 0.02
            try:
                async with asyncio.timeout(patience if self.connections <= RECONNECTS else None):
                    while len(self.seen) < until:
                        self.take(json.loads(await client.recv()))
            except (TimeoutError, ConnectionClosed):
                return

    def take(self, message: dict) -> None:
        assert message["type"] != "gap", message
        self.cursor = message.get("cursor", self.cursor)
        if message["type"] != "connection":
            self.seen.append(message["id"])


@pytest.mark.timeout(90)
async def test_reconnecting_200_times_while_10000_events_pass_shows_each_once(store: Store):
    """At random times, also in the middle of a replay: every event id once, in order."""
    async with live_app(store) as (url, _):
        browser = Browser(url, random.Random(7))
        while not browser.cursor:
            await browser.visit(0 if browser.cursor else 1)
        producing = asyncio.create_task(produce(store, EVENTS, browser, RECONNECTS))
        while browser.connections <= RECONNECTS or len(browser.seen) < EVENTS:
            await browser.visit(EVENTS)
        await producing
    assert browser.connections > RECONNECTS
    assert browser.seen == [f"e{i}" for i in range(EVENTS)]


async def test_the_checker_sees_a_hub_that_forgets_to_catch_up(store: Store, monkeypatch: pytest.MonkeyPatch):
    """The same browser misses events as soon as a client joins without its replay: the test above can fail."""

    async def join_only(hub: Hub, client: Client, _position: object) -> None:
        hub.join(client)

    monkeypatch.setattr(Hub, "catch_up", join_only)
    async with live_app(store) as (url, _):
        browser = Browser(url, random.Random(7))
        while not browser.cursor:
            await browser.visit(1)
        producing = asyncio.create_task(produce(store, 1_000, browser, 40))
        while browser.connections <= 41:
            await browser.visit(1_000)
        await producing
    assert len(set(browser.seen)) < 1_000


async def test_a_restarted_server_resumes_where_the_client_stood(store: Store):
    """The cursor belongs to the stream and not to a process: what happened while no server ran comes too."""
    async with live_app(store) as (url, _), listen(url) as client:
        await emit(store, "e0")
        cursor = (await said(client))["cursor"]
    await emit(store, "e1")
    async with live_app(store) as (url, _), listen(url, last_event_id=cursor) as client:
        await emit(store, "e2")
        assert [(await said(client))["id"] for _ in range(2)] == ["e1", "e2"]


async def test_the_first_message_is_enough_to_resume(store: Store):
    """A client that saw no event yet has the cursor of its connection."""
    async with live_app(store) as (url, _):
        async with listen(url, greet=False) as client:
            cursor = (await said(client))["cursor"]
        await emit(store, "e1")
        async with listen(url, last_event_id=cursor) as client:
            assert (await said(client))["id"] == "e1"


async def test_a_cursor_older_than_the_stream_gets_a_gap_first(store: Store):
    """`gap` says from where it goes on, then come the events that are kept; a whole stream makes no gap."""
    async with live_app(store) as (url, _):
        for number in range(10):
            await emit(store, f"e{number}")
        async with listen(url, last_event_id="0-0") as client:
            assert [(await said(client))["id"] for _ in range(10)] == [f"e{i}" for i in range(10)]
        await store.redis.xtrim(keys.events(0), maxlen=3, approximate=False)
        async with listen(url, last_event_id="1-0", events="user.*") as client:
            gap = await said(client)
            assert (gap["type"], gap["after"]) == ("gap", "1-0")
            kept = [await said(client) for _ in range(3)]
            assert [one["id"] for one in kept] == ["e7", "e8", "e9"]
            assert decode(gap["cursor"], 1) < decode(kept[0]["cursor"], 1)
        async with listen(url, last_event_id=kept[0]["cursor"]) as client:
            assert (await said(client))["id"] == "e8"


async def test_a_filter_holds_while_it_is_brought_up_to_date(store: Store):
    """A replay has the same filter as what follows."""
    async with live_app(store) as (url, _):
        for number in range(6):
            await emit(store, f"e{number}", "ticket.created" if number % 2 else "user.created")
        async with listen(url, last_event_id="0-0", events="ticket.*") as client:
            await emit(store, "e6", "user.created")
            await emit(store, "e7", "ticket.created")
            assert [(await said(client))["id"] for _ in range(4)] == ["e1", "e3", "e5", "e7"]


async def test_a_cursor_from_the_future_waits_for_nothing(store: Store):
    """After data was lost a cursor may be ahead of the stream: the client gets what happens from now on."""
    async with live_app(store) as (url, _):
        await emit(store, "e0")
        async with listen(url, last_event_id="99999999999999-7") as client:
            await wait_until(lambda: True, "it is connected")
            await client.send('{"type": "ping"}')
            assert await said(client) == {"type": "pong"}
            for number in range(1, 100):
                await emit(store, f"e{number}")
                try:
                    message = await said(client, 0.1)
                except TimeoutError:
                    continue
                assert message["type"] == "user.created"
                break
            else:
                raise AssertionError("nothing came")


async def test_redis_may_go_away_and_come_back(server: Server, store: Store, tmp_path):
    """The tail waits it out and goes on where it stood; the client notices nothing."""
    other = Server(server.name, server.binary, tmp_path)
    other.start("--appendonly", "yes")
    try:
        own = await open_store(connect_redis(other.url), 1)
        async with live_app(own) as (url, _), listen(url) as client:
            await emit(own, "e1")
            assert (await said(client))["id"] == "e1"
            other.stop()
            other.start("--appendonly", "yes")
            await wait_until(lambda: _answers(own), "it is back")
            await emit(own, "e2")
            assert (await said(client, 10))["id"] == "e2"
        await own.redis.aclose()
    finally:
        other.stop()


async def _answers(store: Store) -> bool:
    try:
        return bool(await store.redis.ping())
    except Exception:  # noqa: BLE001 - whatever it is, not yet
        return False


async def test_with_several_shards_one_cursor_covers_all(store: Store):
    """The cursor is a vector: reconnecting anywhere shows every event of every shard once."""
    await store.redis.flushall()
    sharded = await open_store(store.redis, 5)
    async with live_app(sharded) as (url, _):
        browser = Browser(url, random.Random(3))
        while not browser.cursor:
            await browser.visit(1)
        producing = asyncio.create_task(produce(sharded, 1_000, browser, 40))
        while len(browser.seen) < 1_000:
            await browser.visit(1_000)
        await producing
    assert sorted(browser.seen) == sorted(f"e{i}" for i in range(1_000))
    assert len(set(browser.seen)) == 1_000

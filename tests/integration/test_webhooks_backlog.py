"""A receiver that is down for 100,000 events, and what it gets when it is back."""

import time

import pytest
from doubles.receiver import Receiver
from servers import Server
from waiting import wait_until
from webhooks_api import make, webhooks_client, working

from shared import delivery_history, events, keys
from shared.connection import Store
from shared.events import NewEvent

BACKLOG = 100_000
DELIVERED = 2_000
LONGEST_CALL_US = 20_000
"""Of any command while it is recovered; a step is made to take 2 to 5 ms on an idle machine."""


@pytest.fixture
def one_server(server: Server) -> None:
    """These are about amounts: one server is enough."""
    if server.name != "valkey":
        pytest.skip("once, on the embedded server")


async def fill(store: Store, count: int) -> None:
    for start in range(0, count, 500):
        batch = [NewEvent("user.created", f'{{"n": {i}}}', f"e{i}") for i in range(start, start + 500)]
        await events.emit(store, batch)


@pytest.mark.usefixtures("one_server")
@pytest.mark.timeout(120)
async def test_the_cursor_brings_100000_events_in_order(store: Store):
    """While the receiver is down they pile up in the ledger; by the cursor every one is pulled once, by its id."""
    async with webhooks_client(store) as api:
        await make(api, "http://127.0.0.1:1/")
        await fill(store, BACKLOG)
        async with working(store):

            async def written() -> bool:
                (state,) = await delivery_history.stats(store, ["webhook:1"])
                return state.pending == BACKLOG

            await wait_until(written, "every event is in the ledger", 60)
        seen: list[str] = []
        after = ""
        while True:
            query = {"limit": 200, **({"after": after} if after else {})}
            answer = (await api.get("/webhooks/1/events", params=query)).json()
            if not answer["items"]:
                break
            seen += [one["id"] for one in answer["items"]]
            after = answer["next"]
    assert seen == [f"e{i}" for i in range(BACKLOG)]


@pytest.mark.usefixtures("one_server")
@pytest.mark.timeout(120)
async def test_recover_queues_100000_missed_events_in_short_steps(store: Store):
    """Missed while the webhook was off: one call makes a delivery of each, in the order of the log, and no command
    holds Redis up; a second call makes none again.
    """
    async with webhooks_client(store) as api:
        await make(api, is_active=False)
        await fill(store, BACKLOG)
        await store.redis.config_set("slowlog-log-slower-than", LONGEST_CALL_US)
        await store.redis.slowlog_reset()
        began = time.monotonic()
        answer = (await api.post("/webhooks/1/recover", json={"since": "2020-01-01"})).json()
        took = time.monotonic() - began
        assert answer["missed"] == BACKLOG
        assert (await api.post("/webhooks/1/recover", json={"since": "2020-01-01"})).json()["total"] == 0
        slow = await store.redis.slowlog_get()
        listed = (await api.get("/webhooks/1/deliveries", params={"limit": 200})).json()
    assert listed["total"] == BACKLOG
    assert [one["event_id"] for one in listed["items"]] == [f"e{BACKLOG - 1 - i}" for i in range(200)]
    assert took < 60
    assert slow == []
    await store.redis.config_set("slowlog-log-slower-than", 10_000)


@pytest.mark.timeout(60)
async def test_recovered_events_arrive_once_each(store: Store):
    """Down, then up: what was missed and what failed is delivered by one recover."""
    async with Receiver() as receiver, webhooks_client(store) as api:
        await make(api, "http://127.0.0.1:1/")
        async with working(store):
            await fill(store, DELIVERED // 2)

            async def tried() -> bool:
                (state,) = await delivery_history.stats(store, ["webhook:1"])
                return state.pending == DELIVERED // 2 and state.consecutive >= 5

            await wait_until(tried, "attempts fail", 20)
            await api.patch("/webhooks/1", json={"is_active": False})
            batch = [NewEvent("user.created", "{}", f"m{i}") for i in range(DELIVERED // 2)]
            await events.emit(store, batch)
            await api.patch("/webhooks/1", json={"is_active": True, "url": f"{receiver.url}/hook"})
            answer = (await api.post("/webhooks/1/recover", json={"since": "2020-01-01"})).json()
            assert answer["missed"] == DELIVERED // 2
            assert answer["hurried"] >= 5
            await wait_until(lambda: len(receiver.journal.received) >= DELIVERED, "all arrive", 40)

            async def done() -> bool:
                return await store.redis.zcard(keys.of_target(0, "pending", "webhook:1")) == 0

            await wait_until(done, "all are recorded")
    got = [request["headers"]["webhook-id"] for request in receiver.journal.received]
    assert sorted(got) == sorted(
        [f"e{i}" for i in range(DELIVERED // 2)] + [f"m{i}" for i in range(DELIVERED // 2)]
    )

"""The whole retry schedule, over the real worker and a real receiver, on a clock that the test turns."""

import asyncio

import pytest
from controlled_clock import Clock
from doubles.receiver import Receiver
from waiting import wait_until
from webhooks_api import deliveries, emit, make, webhooks_client, working

from shared import keys, scheduler
from shared.connection import Store
from shared.retry import ATTEMPTS, JITTER, SCHEDULE


@pytest.mark.timeout(90)
async def test_every_attempt_comes_in_its_window_across_worker_restarts(
    store: Store, monkeypatch: pytest.MonkeyPatch
):
    """Eight attempts, each within ±20 % of its wait, none a ms early, none skipped or doubled, though the worker is
    restarted between all of them; then the dead letter.
    """
    clock = Clock(monkeypatch)
    monkeypatch.setattr(scheduler, "LONGEST_SLEEP", 0.05)
    key = keys.delivery(0, "webhook:1", 1)
    async with Receiver() as receiver, webhooks_client(store) as api:
        await make(api, f"{receiver.url}/status/500")
        await emit(store, "e1")
        for attempt in range(1, ATTEMPTS + 1):
            async with working(store):
                await wait_until(lambda: _recorded(store, key, attempt), f"attempt {attempt} is made")  # noqa: B023
            assert len(receiver.journal.received) == attempt
            if attempt == ATTEMPTS:
                break
            due = int(await store.redis.hget(key, "next"))
            base = SCHEDULE[attempt - 1] * 1000
            assert (1 - JITTER) * base <= due - clock.now <= (1 + JITTER) * base
            clock.now = due - 1
            async with working(store):
                for _ in range(4):  # four looks of the scheduler at least
                    woken = await scheduler.take_due(store, 0, "webhook")
                    assert woken.targets == []
                    await asyncio.sleep(0.05)
            assert len(receiver.journal.received) == attempt
            clock.now = due
        (dead,) = await deliveries(api, 1)
        detail = (await api.get(f"/webhooks/1/deliveries/{dead['id']}")).json()
        stats = (await api.get("/webhooks/stats")).json()
    assert (dead["status"], dead["attempt_number"], dead["next_retry_at"]) == ("failed", ATTEMPTS, None)
    assert [one["number"] for one in detail["attempts"]] == list(range(1, ATTEMPTS + 1))
    ids = {request["headers"]["webhook-id"] for request in receiver.journal.received}
    assert ids == {"e1"}
    assert (stats["failed_deliveries"], stats["success_rate"]) == (1, 0.0)
    last = await store.redis.xrevrange(keys.events(0), count=1)
    assert last[0][1]["type"] == "delivery.dead_letter"


async def _recorded(store: Store, key: str, attempt: int) -> bool:
    found = await store.redis.hmget(key, ["attempt", "status"])
    return found[0] == str(attempt) and found[1] in ("pending", "failed")

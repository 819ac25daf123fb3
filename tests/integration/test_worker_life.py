"""What keeps a delivery worker at work: its key, its patience after an outage, arq's worker, spread-out retries."""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from servers import Server
from waiting import wait_until

from shared import deliveries, keys, orders, queue, retry, scheduler, workers
from shared.connection import Store
from shared.deliveries import Delivery, NewDelivery
from shared.pump import Report
from shared.retry import Outcome


class Sends:
    """A sender that keeps what it was given; each send takes `seconds`."""

    def __init__(self, outcome: Outcome | None = None, seconds: float = 0) -> None:
        self.sent: list[Delivery] = []
        self.outcome = outcome or Outcome(200)
        self.seconds = seconds

    async def send(self, message: Sequence[Delivery]) -> Outcome:
        self.sent += message
        await asyncio.sleep(self.seconds)
        return self.outcome


@contextlib.asynccontextmanager
async def working(store: Store, url: str, sender: Sends, **more: Any) -> AsyncIterator[None]:
    stop = asyncio.Event()
    task = asyncio.create_task(queue.run_worker(store, url, sender, kind="webhook", stop=stop, **more))
    try:
        yield
    finally:
        stop.set()
        await asyncio.wait_for(task, 8)


async def create(store: Store, *targets: str) -> None:
    await deliveries.create(store, [NewDelivery(target, "e", "a.b", "{}", 1) for target in targets])


async def hint(url: str, *targets: str) -> None:
    pool = queue.open_queue(url, "webhook")
    await queue.hint(pool, targets)
    await pool.aclose(close_connection_pool=True)


@pytest.fixture
def no_reconciler(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only arq's hints wake a pump."""

    async def asleep(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(scheduler, "wake_due", asleep)


async def test_a_worker_says_all_the_time_that_it_lives(
    store: Store, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its key lives 6 s; one that is lost is there again with the next sign."""
    monkeypatch.setattr(workers, "RENEW_EVERY", 0.05)
    async with working(store, server.url, Sends()):
        (name,) = await wait_until(lambda: store.redis.keys("mp:{c}:worker:*"), "the first sign")
        for _ in range(3):
            await store.redis.delete(name)
            await wait_until(lambda: store.redis.exists(name), "the next sign", timeout=3)
        assert await store.redis.pttl(name) <= workers.WORKER_TTL_MS


async def test_after_an_outage_nobody_is_robbed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys expire while Redis is away; workers that live get the time to say so before claims are taken back."""
    monkeypatch.setattr(scheduler, "RECLAIM_EVERY", 0.01)
    monkeypatch.setattr(scheduler, "CALM_AFTER_OUTAGE", 0.4)
    loop, looks = asyncio.get_running_loop(), []

    async def reclaim(*_: object, **__: object) -> list[workers.Claim]:
        looks.append(loop.time())
        if len(looks) == 2:
            raise ConnectionError("away")
        return []

    monkeypatch.setattr(workers, "reclaim", reclaim)

    class Pump:
        store, worker, held = None, "w", frozenset()

    task = asyncio.create_task(scheduler.reclaim(Pump(), 0, "webhook", "webhooks"))  # type: ignore[arg-type]
    await wait_until(lambda: len(looks) >= 3, "it looks again")
    task.cancel()
    assert looks[1] - looks[0] < 0.2
    assert looks[2] - looks[1] >= 0.39


async def test_a_hint_alone_is_enough(store: Store, server: Server, no_reconciler: None) -> None:
    """It wakes a pump without waiting for anybody's next look at the ledger."""
    sender = Sends()
    async with working(store, server.url, sender):
        await create(store, "webhook:1", "webhook:2")
        await hint(server.url, "webhook:1", "webhook:2")
        await wait_until(lambda: len(sender.sent) == 2, "both were sent")


async def test_a_leftover_of_a_killed_worker_blocks_no_hint(
    store: Store, server: Server, no_reconciler: None
) -> None:
    """Its job and its in-progress key stay for minutes; the next hint about the same target is a job of its own."""
    await hint(server.url, "webhook:1")
    for job in await store.redis.keys("arq:job:*"):
        await store.redis.set(job.replace("arq:job:", "arq:in-progress:"), "1", px=300_000)
    sender = Sends()
    async with working(store, server.url, sender):
        await create(store, "webhook:1")
        await hint(server.url, "webhook:1")
        await wait_until(lambda: len(sender.sent) == 1, "it was sent")


async def test_arqs_worker_is_started_again_for_as_long_as_it_takes(
    store: Store, server: Server, no_reconciler: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends by itself while its Redis is away; when that is back, hints are taken again."""
    monkeypatch.setattr(queue, "LONGEST_PAUSE", 0.1)
    started, real = [], queue._arq_worker

    def arq_worker(*arguments: Any) -> Any:
        started.append(real(*arguments))
        return started[-1]

    monkeypatch.setattr(queue, "_arq_worker", arq_worker)
    with tempfile.TemporaryDirectory(prefix="pulse-") as folder:
        other = Server(server.name, server.binary, Path(folder))
        sender = Sends()
        try:
            async with working(store, other.url, sender):
                await wait_until(lambda: len(started) >= 3, "arq was started again")
                other.start("--appendonly", "no")
                await create(store, "webhook:1")
                await hint(other.url, "webhook:1")
                await wait_until(lambda: len(sender.sent) == 1, "it was sent")
        finally:
            other.stop()


async def test_a_worker_that_ends_begins_nothing_more(store: Store, server: Server) -> None:
    """Its places become free, its backlog is long: the rest is for others."""
    sender = Sends(seconds=0.02)
    async with working(store, server.url, sender):
        events = [NewDelivery("webhook:1", f"e{i}", "a.b", "{}", 1) for i in range(5_000)]
        await deliveries.create(store, events)
        await wait_until(lambda: sender.sent, "it is at work")
        begun = len(sender.sent)
    assert len(sender.sent) - begun <= 2 * orders.IN_FLIGHT
    assert await store.redis.zcard(keys.of_target(0, "inflight", "webhook:1")) == 0


async def test_what_failed_together_does_not_come_back_together(store: Store, server: Server) -> None:
    """Each wait is stretched by a factor of its own, within a fifth."""
    delays: list[int] = []

    async def observe(report: Report) -> None:
        delays.extend(decision.delay_ms for decision in report.decisions)

    async with working(store, server.url, Sends(Outcome(500)), observer=observe):
        await create(store, *[f"webhook:{i}" for i in range(50)])
        await wait_until(lambda: len(delays) == 50, "all have failed")
    base = retry.SCHEDULE[0] * 1_000
    assert len(set(delays)) > 25
    assert min(delays) >= base * (1 - retry.JITTER)
    assert max(delays) <= base * (1 + retry.JITTER)
    assert max(delays) - min(delays) > base * retry.JITTER

"""Workers on real servers and a real arq: delivery by hint and without, isolation, crashes, outages."""

import asyncio
import tempfile
import time
from collections import Counter
from pathlib import Path

import pytest
from conftest import SERVERS
from prometheus_client import REGISTRY
from servers import Server
from waiting import wait_until
from working import Sends, new, working

from shared import claims, deliveries, delivery_history, keys, orders, pump, queue, retry, scheduler, workers
from shared.connection import Store, connect
from shared.errors import DeliveryError
from shared.orders import Want


@pytest.fixture
async def hints(server, store):
    pool = queue.open_queue(server.url, "webhook")
    yield pool
    await pool.aclose()


async def test_a_hint_is_delivered_at_once(store, server, hints):
    """Created, hinted, sent, recorded; the queue is empty afterwards and holds no pickle."""
    sender = Sends()
    async with working(store, server.url, sender):
        (made,) = await deliveries.create(store, [new("a")])
        await queue.hint(hints, ["webhook:1", "webhook:1"])
        await wait_until(lambda: sender.ids == [made], "it was sent")
        await wait_until(lambda: _is(store, 1, "success"), "it was recorded")
        await wait_until(lambda: _empty(hints), "the queue is empty")


async def _is(store, number, status, target="webhook:1"):
    return (await delivery_history.get(store, target, number)).status == status


async def _empty(pool):
    return await queue.depth(pool, "webhook") == 0


async def test_the_depth_of_the_queue_is_published(server, hints):
    """For whoever watches the metrics: jobs that wait."""
    await queue.hint(hints, [f"webhook:{i}" for i in range(100)])
    measuring = asyncio.create_task(queue._measure(server.url, "webhook"))
    name, labels = "mishpulse_queue_depth", {"group": "webhooks"}
    await wait_until(lambda: REGISTRY.get_sample_value(name, labels) == 4, "four jobs of 32 targets")
    measuring.cancel()
    await asyncio.gather(measuring, return_exceptions=True)


async def test_jobs_are_json(store, hints):
    """Whoever can write to the queue can run no code here."""
    await queue.hint(hints, [f"webhook:{i}" for i in range(100)])
    jobs = await hints.keys("arq:job:*")
    assert len(jobs) == 4
    assert (await hints.get(jobs[0])).startswith(b'{"t": null, "f": "pump"')


@pytest.mark.parametrize("lost", ["never sent", "emptied"])
async def test_without_hints_it_arrives_a_little_later(store, server, hints, lost):
    """The ledger alone is enough."""
    sender = Sends()
    async with working(store, server.url, sender):
        await deliveries.create(store, [new(i, f"webhook:{i}") for i in range(20)])
        if lost == "emptied":
            await queue.hint(hints, [f"webhook:{i}" for i in range(20)])
            await hints.delete(queue.queue_name("webhook"))
        await wait_until(lambda: len(sender.ids) == 20, "all were sent", timeout=3)


async def test_a_leftover_of_a_killed_arq_worker_blocks_nothing(store, server, hints):
    """Its in-progress keys stay for minutes; later hints have other ids."""
    await queue.hint(hints, ["webhook:1"])
    for job in await hints.keys("arq:job:*"):
        await hints.set(job.replace(b"arq:job:", b"arq:in-progress:"), b"1", px=300_000)
    await deliveries.create(store, [new("a")])
    sender = Sends()
    async with working(store, server.url, sender):
        await queue.hint(hints, ["webhook:1"])
        await wait_until(lambda: len(sender.ids) == 1, "it was sent")


async def test_a_thousand_targets_within_two_seconds(store, server, hints):
    """One delivery each, nothing doubled."""
    sender = Sends()
    async with working(store, server.url, sender):
        targets = [f"webhook:{i}" for i in range(1_000)]
        began = time.monotonic()
        await deliveries.create(store, [new("a", target) for target in targets])
        await queue.hint(hints, targets)
        await wait_until(lambda: len(sender.ids) >= 1_000, "all were sent", timeout=10)
        assert time.monotonic() - began < 4
    assert Counter(d.target for m in sender.messages for d in m) == Counter(targets)


async def test_a_hanging_destination_holds_back_no_other(store, server, hints):
    """Nor do deliveries of its own that do not hang, up to the cap; it never has more than twenty."""
    sender = Sends()
    sender.gates["webhook:0"] = asyncio.Event()
    async with working(store, server.url, sender):
        await deliveries.create(store, [new(f"h{i}", "webhook:0") for i in range(50)])
        await queue.hint(hints, ["webhook:0"])
        await wait_until(lambda: len(sender.started) == orders.IN_FLIGHT, "it has its twenty")
        others = [f"webhook:{i}" for i in range(1, 60)]
        await deliveries.create(store, [new("a", target) for target in others])
        await queue.hint(hints, ["webhook:0", *others])
        await wait_until(lambda: len(sender.ids) == 59, "all others were sent", timeout=3)
        assert len(sender.started) == orders.IN_FLIGHT + 59
        sender.gates["webhook:0"].set()
        await wait_until(lambda: len(sender.ids) == 109, "the rest follows")


async def test_a_crowd_that_hangs_within_the_processs_cap_holds_back_no_other(store, server, hints):
    """Backlogs of hanging destinations get ever less of it, what is due to others arrives, the cap is never passed."""
    sender = Sends()
    hanging = [f"webhook:{i}" for i in range(20)]
    for target in hanging:
        sender.gates[target] = asyncio.Event()
    async with working(store, server.url, sender, most_sends=60):
        await deliveries.create(store, [new(i, target) for target in hanging for i in range(30)])
        await queue.hint(hints, hanging)
        await wait_until(lambda: {m[0].target for m in sender.started} == set(hanging), "each has one")
        others = [f"webhook:{i}" for i in range(20, 320)]
        await deliveries.create(store, [new("a", target) for target in others])
        await queue.hint(hints, others)
        await wait_until(lambda: len(sender.ids) == 300, "all others were sent", timeout=5)
        assert len(sender.started) - len(sender.messages) < 60
        for gate in sender.gates.values():
            gate.set()
        await wait_until(lambda: len(sender.ids) == 900, "the rest follows", timeout=10)
    assert len(set(sender.ids)) == 900


async def test_more_that_hang_than_there_are_places_end_the_wait_of_the_others(store, server, hints):
    """Having failed once they share half of the places: those that work do not wait for them again."""
    hanging = {f"webhook:{i}": DeliveryError("no answer", label="timeout") for i in range(40)}
    sender = Sends(hanging)
    async with working(store, server.url, sender, most_sends=20):
        await deliveries.create(store, [new("a", target) for target in hanging])
        await queue.hint(hints, hanging)
        await wait_until(lambda: len(sender.ids) == 40, "each failed once")
        for target in hanging:
            sender.gates[target] = asyncio.Event()
        await deliveries.create(store, [new("b", target) for target in hanging])
        await queue.hint(hints, hanging)
        await wait_until(lambda: len(sender.started) == 50, "half of the places hang")
        others = [f"webhook:{i}" for i in range(40, 140)]
        await deliveries.create(store, [new("a", target) for target in others])
        await queue.hint(hints, others)
        await wait_until(lambda: len(sender.ids) == 140, "all others were sent", timeout=5)
        assert len(sender.started) == 150
        for gate in sender.gates.values():
            gate.set()
        await wait_until(lambda: len(sender.ids) >= 180, "the rest follows", timeout=10)


async def test_a_backlog_of_one_target_is_worked_off(store, server, hints):
    """Far more than the cap, each once, in batches."""
    sender = Sends()
    async with working(store, server.url, sender):
        await deliveries.create(store, [new(i) for i in range(1_500)])
        await queue.hint(hints, ["webhook:1"])
        await wait_until(lambda: len(sender.ids) >= 1_500, "all were sent", timeout=10)
    assert len(set(sender.ids)) == len(sender.ids) == 1_500
    (stats,) = await delivery_history.stats(store, ["webhook:1"])
    assert (stats.success_count, stats.pending) == (1_500, 0)
    assert (await delivery_history.listing(store, "webhook:1")).total <= 1_200


async def test_failures_are_retried_and_told(store, server, hints):
    """A failed attempt is scheduled again; a permanent one is a dead letter; the observer hears of both."""
    fates = {
        "webhook:1": retry.Outcome(503, "busy"),
        "webhook:2": DeliveryError("no such place", permanent=True, status=404, body="?"),
        "webhook:3": ValueError("a bug"),
    }
    sender, reports = Sends(fates), {}

    async def observer(report):
        reports[report.target] = report
        raise RuntimeError("an observer's bug harms nothing")

    async with working(store, server.url, sender, observer=observer):
        await deliveries.create(store, [new("a", target) for target in fates])
        await queue.hint(hints, fates)
        await wait_until(lambda: len(reports) == 3, "all were told")
        assert [reports[t].decisions[0].state for t in fates] == ["retry", "dead", "retry"]
        assert 4_000 <= reports["webhook:1"].decisions[0].delay_ms <= 6_000
        assert reports["webhook:2"].outcome.status == 404
        assert "ValueError" in reports["webhook:3"].outcome.error
        assert reports["webhook:1"].state.failing_since
        sender.fate.clear()
        await wait_until(lambda: _is(store, 1, "success"), "the retry succeeds", timeout=9)
        shown = await delivery_history.get(store, "webhook:1", 1)
        assert [a.status for a in shown.attempts] == [503, 200]


async def test_a_stopping_worker_gives_its_claims_back(store, server, hints, monkeypatch):
    """Within the grace; no attempt is consumed, another worker sends them at once."""
    monkeypatch.setattr(queue, "STOP_GRACE", 0.2)
    stuck = Sends()
    stuck.gates["webhook:1"] = asyncio.Event()
    async with working(store, server.url, stuck):
        await deliveries.create(store, [new(i) for i in range(30)])
        await queue.hint(hints, ["webhook:1"])
        await wait_until(lambda: len(stuck.started) == 20, "twenty are under way")
        began = time.monotonic()
    assert time.monotonic() - began < 2
    assert await store.redis.keys("mp:{c}:worker:*") == []
    shown = (await delivery_history.listing(store, "webhook:1")).items
    assert {(d.status, d.attempt) for d in shown} == {("pending", 0)}
    sender = Sends()
    async with working(store, server.url, sender):
        await wait_until(lambda: len(sender.ids) == 30, "another sends them", timeout=3)


async def test_a_vanished_workers_claims_are_sent_by_another(store, server, monkeypatch):
    """Within eight seconds of its death; its own late result is refused."""
    await deliveries.create(store, [new("a")])
    await workers.renew(store, "killed")
    (claimed,) = await claims.claim(store, "killed", [Want("webhook:1")])
    sender, began = Sends(), time.monotonic()
    async with working(store, server.url, sender):
        await wait_until(lambda: len(sender.ids) == 1, "another sends it", timeout=9)
        assert 3 < time.monotonic() - began < 8
        await wait_until(lambda: _is(store, 1, "success"), "it was recorded")
    (late,) = await claims.record(store, [claims.Result(claimed.deliveries[0], "killed", "retry", 5_000)])
    assert not late.accepted
    assert await _is(store, 1, "success")


async def test_a_claim_whose_answer_was_lost_is_sent(store, server, hints, monkeypatch):
    """The worker finds that it holds what it never heard of."""
    monkeypatch.setattr(workers, "SUSPECT_AFTER_MS", 100)
    real, losses = claims.claim, []

    async def lossy(*args, **more):
        answer = await real(*args, **more)
        if answer[0].deliveries and not losses:
            losses.append(answer)
            raise ConnectionError("the answer was lost")
        return answer

    monkeypatch.setattr(claims, "claim", lossy)
    sender = Sends()
    async with working(store, server.url, sender):
        await deliveries.create(store, [new("a")])
        await queue.hint(hints, ["webhook:1"])
        await wait_until(lambda: len(sender.ids) == 1, "it was sent", timeout=8)
    assert losses


@pytest.mark.parametrize("name", SERVERS)
async def test_an_outage_ends_no_worker(name, anyio_backend):
    """Redis goes away in the middle of a send: the result is recorded when it is back, and work goes on."""
    options = ("--appendonly", "yes", "--appendfsync", "always")
    with tempfile.TemporaryDirectory(prefix="pulse-") as folder:
        server = Server(name, SERVERS[name], Path(folder))
        server.start(*options)
        store, sender = Store(connect(server.url), 1), Sends()
        sender.gates["webhook:1"] = asyncio.Event()
        try:
            async with working(store, server.url, sender) as task:
                await deliveries.create(store, [new("a")])
                await wait_until(lambda: sender.started, "the send is under way", timeout=3)
                server.stop(kill=True)
                sender.gates["webhook:1"].set()
                await wait_until(lambda: sender.ids, "it was sent")
                await asyncio.sleep(4)
                assert not task.done()
                server.start(*options)
                await wait_until(lambda: _is(store, 1, "success"), "it was recorded", timeout=8)
                pool = queue.open_queue(server.url, "webhook")
                await deliveries.create(store, [new("b", "webhook:2")])
                await queue.hint(pool, ["webhook:2"])
                await wait_until(lambda: len(sender.ids) >= 2, "work goes on", timeout=8)
                await pool.aclose()
                assert [d.target for m in sender.messages for d in m] == ["webhook:1", "webhook:2"]
        finally:
            await store.redis.aclose()
            server.stop()


async def test_a_lost_queue_server_costs_latency_only(store, server):
    """The queue may live elsewhere and be away; a hint into nowhere raises nothing."""
    sender = Sends()
    async with working(store, "redis://127.0.0.1:1/0", sender):
        pool = queue.open_queue("redis://127.0.0.1:1/0", "webhook")
        await deliveries.create(store, [new("a")])
        await queue.hint(pool, ["webhook:1"])
        await wait_until(lambda: len(sender.ids) == 1, "it was sent", timeout=4)
        await pool.aclose()


async def test_a_circuit_leaves_a_failing_target_one_place(store, server, hints):
    """After five failures in a row it is tried one at a time."""
    sender = Sends({"webhook:1": retry.Outcome(500)})
    async with working(store, server.url, sender):
        await deliveries.create(store, [new(i) for i in range(5)])
        await queue.hint(hints, ["webhook:1"])
        await wait_until(lambda: len(sender.ids) == 5, "five failed")
        await wait_until(lambda: _failures(store, 5), "five were recorded")
        sender.gates["webhook:1"] = asyncio.Event()
        await deliveries.create(store, [new(f"b{i}") for i in range(30)])
        await queue.hint(hints, ["webhook:1"])
        await wait_until(lambda: len(sender.started) == 6, "one is tried")
        await asyncio.sleep(0.3)
        assert len(sender.started) == 6
        sender.fate.clear()
        sender.gates["webhook:1"].set()
        await wait_until(lambda: len(sender.ids) >= 35, "a success opens it again", timeout=4)


async def _failures(store, count):
    (stats,) = await delivery_history.stats(store, ["webhook:1"])
    return stats.consecutive == count


async def test_a_sender_without_end_is_ended(store, server, hints, monkeypatch):
    """A sender that forgot its deadline costs one attempt, not a place for ever."""
    monkeypatch.setattr(pump, "SEND_LIMIT", 0.1)
    sender = Sends()
    sender.gates["webhook:1"] = asyncio.Event()
    async with working(store, server.url, sender):
        await deliveries.create(store, [new("a")])
        await queue.hint(hints, ["webhook:1"])
        await wait_until(lambda: _attempted(store), "the attempt failed")


async def _attempted(store):
    shown = await delivery_history.get(store, "webhook:1", 1)
    return shown.status == "pending" and shown.attempt == 1


async def test_what_is_due_is_measured(store):
    """How many targets, and for how long."""
    await deliveries.create(store, [new("a"), new("a", "webhook:2")])
    await deliveries.create(store, [new("a", "webhook:3", delay_ms=60_000)])
    assert await store.redis.zcard(keys.due(0, "webhook")) == 3
    await asyncio.sleep(0.02)
    await scheduler._measure(store, "webhook", "webhooks")
    assert scheduler.metrics.DUE_TARGETS.labels("webhooks")._value.get() == 2
    assert scheduler.metrics.OLDEST_UNDELIVERED.labels("webhooks")._value.get() >= 0.02

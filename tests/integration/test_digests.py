"""Digests in the hands of real workers: one for a storm, and the same again whatever happened to its first."""

import asyncio

from prometheus_client import REGISTRY
from waiting import wait_until
from working import Sends, new, working

from shared import claims, deliveries, delivery_history, keys, pump, queue, retry, workers
from shared.orders import Want


async def test_a_storm_is_one_digest(store, server):
    """Five at once, and two seconds later all the rest in one message, with two workers racing."""
    one, two = Sends(), Sends()
    async with (
        working(store, server.url, one, "channel", digest=True),
        working(store, server.url, two, "channel", digest=True),
    ):
        pool = queue.open_queue(server.url, "channel")
        await deliveries.create(store, [new(i, "channel:1") for i in range(900)])
        await queue.hint(pool, ["channel:1"])
        await wait_until(lambda: len(one.ids) + len(two.ids) == 900, "all were told", timeout=6)
        assert sorted(len(m) for m in one.messages + two.messages) == [1, 1, 1, 1, 1, 895]
        await wait_until(lambda: _successes(store, 900), "all were recorded")
        await pool.aclose()


async def test_a_storms_digest_is_recorded_in_parts(store, server, monkeypatch):
    """Making a hundred thousand results at once would hold up everybody else's for half a second; each is counted."""
    counted = ("mishpulse_deliveries_total", {"kind": "channel", "result": "success"})
    timed = ("mishpulse_delivery_latency_seconds_count", {"kind": "channel"})
    before = [REGISTRY.get_sample_value(*one) or 0 for one in (counted, timed)]
    monkeypatch.setattr(pump, "RECORDED_TOGETHER", 100)
    sizes = []
    record = claims.record

    async def seen(store, results, **more):
        sizes.append(len(results))
        return await record(store, results, **more)

    monkeypatch.setattr(claims, "record", seen)
    sender = Sends()
    async with working(store, server.url, sender, "channel", digest=True):
        await deliveries.create(store, [new(i, "channel:1") for i in range(355)])
        await wait_until(lambda: _successes(store, 355), "all were recorded", timeout=6)
    assert sorted(map(len, sender.messages)) == [1, 1, 1, 1, 1, 350]
    assert sizes[-4:] == [100, 100, 100, 50]
    after = [REGISTRY.get_sample_value(*one) or 0 for one in (counted, timed)]
    assert [new - old for new, old in zip(after, before, strict=True)] == [355, 355]


async def _successes(store, count):
    (stats,) = await delivery_history.stats(store, ["channel:1"])
    return stats.success_count == count and stats.pending == 0


async def test_a_failing_digest_is_retried_with_all_its_members(store, server, monkeypatch):
    """They share its fate; the circuit counts one message."""
    sender = Sends({"channel:1": retry.Outcome(500)})
    reports = []

    async def observer(report):
        reports.append(report)

    async with working(store, server.url, sender, "channel", digest=True, observer=observer):
        await deliveries.create(store, [new(i, "channel:1") for i in range(300)])
        await wait_until(lambda: any(len(r.deliveries) == 295 for r in reports), "the digest failed")
        digest = next(r for r in reports if len(r.deliveries) == 295)
        assert len(set(digest.decisions)) == 1
        assert digest.state.consecutive <= 6
        (stats,) = await delivery_history.stats(store, ["channel:1"])
        assert (stats.success_count, stats.pending) == (0, 300)


async def test_a_worker_stopped_in_the_middle_of_a_digest_leaves_it_as_it_was(store, server, monkeypatch):
    """What was on its way may have arrived: another worker sends it again, each message with what it had."""
    monkeypatch.setattr(queue, "STOP_GRACE", 0.2)
    stuck, sender = Sends(), Sends()
    stuck.gates["channel:1"] = asyncio.Event()
    async with working(store, server.url, stuck, "channel", digest=True):
        await deliveries.create(store, [new(i, "channel:1") for i in range(200)])
        await wait_until(lambda: len(stuck.started) == 6, "five singles and a digest are under way")
    await deliveries.create(store, [new(i, "channel:1") for i in range(200, 240)])
    async with working(store, server.url, sender, "channel", digest=True):
        await wait_until(lambda: len(sender.ids) == 240, "another sends all", timeout=30)
    assert _contents(stuck.started) <= _contents(sender.messages)
    assert sorted(map(len, sender.messages)) == [1, 1, 1, 1, 1, 40, 195]


def _contents(messages):
    """What each message is: its digest, and who is in it."""
    return {(message[0].digest, tuple(d.id for d in message)) for message in messages}


async def test_a_digest_of_which_others_have_the_members_is_not_sent(store, server, monkeypatch):
    """Its worker slept through its lease before it was sent; the members go in another."""
    asked = []
    seal = claims.seal

    async def taken_once(redis, worker, members):
        asked.append(members)
        return len(asked) > 1 and await seal(redis, worker, members)

    monkeypatch.setattr(claims, "seal", taken_once)
    sender = Sends()
    async with working(store, server.url, sender, "channel", digest=True):
        await deliveries.create(store, [new(i, "channel:1") for i in range(60)])
        await wait_until(lambda: len(sender.ids) == 60, "all were told", timeout=30)
    assert sorted(map(len, sender.messages)) == [1, 1, 1, 1, 1, 55]
    assert len({members[0].digest for members in asked}) == 2


async def test_what_is_bound_together_goes_on_together(store, server):
    """A repeated digest fails as its newest member does: an older one is no dead letter for the other's turns."""
    await deliveries.create(store, [new(i, "channel:1") for i in range(8)])
    now = await _now(store)
    (singles,) = await claims.claim(store, "gone", [Want("channel:1", digest=True)], now=now)
    (digest,) = await claims.claim(store, "gone", [Want("channel:1", digest=True)], now=now + 2_000)
    assert (len(singles.deliveries), len(digest.deliveries)) == (5, 3)
    assert await claims.seal(store, "gone", digest.deliveries, now=now + 2_000)
    await store.redis.hset(
        keys.delivery(0, "channel:1", digest.deliveries[0].number), "attempt", retry.ATTEMPTS - 1
    )
    await workers.reclaim(store, 0, "channel", now=now + 10_000)
    reports = []

    async def observer(report):
        reports.append(report)

    sender = Sends({"channel:1": retry.Outcome(500)})
    async with working(store, server.url, sender, "channel", digest=True, observer=observer):
        await wait_until(
            lambda: any(len(r.deliveries) == 3 for r in reports), "the digest failed", timeout=30
        )
    (failed,) = (report for report in reports if len(report.deliveries) == 3)
    assert {(fate.state, fate.delay_ms < 10_000) for fate in failed.decisions} == {("retry", True)}


async def _now(store):
    seconds, micros = await store.redis.time()
    return seconds * 1000 + micros // 1000

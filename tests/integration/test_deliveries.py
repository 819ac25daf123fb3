"""The delivery ledger on real servers: creation, claims, results, storms, retention and the end of a target."""

import asyncio

import pytest

from shared import (
    claims,
    deliveries,
    delivery_history,
    delivery_upkeep,
    keys,
    orders,
    retry,
    scheduler,
    workers,
)
from shared.claims import Result
from shared.connection import Store
from shared.deliveries import NewDelivery
from shared.errors import Conflict, NotFound
from shared.orders import Want

T = 1_800_000_000_000
HOOK = "webhook:1"
CHANNEL = "channel:1"
GOOD = retry.Outcome(200, "fine")
BAD = retry.Outcome(500, "oh")


def new(event, target=HOOK, **more):
    return NewDelivery(target, event, "a.b", f'{{"event": "{event}"}}', T, **more)


async def make(store, count, target=HOOK, now=T, prefix="e"):
    return await deliveries.create(store, [new(f"{prefix}{i}", target) for i in range(count)], now=now)


async def take(store, target=HOOK, worker="w1", now=T, limit=20, digest=False):
    (claimed,) = await claims.claim(store, worker, [Want(target, limit, digest)], now=now)
    return claimed


async def settle(store, delivery, outcome=GOOD, worker="w1", now=T, jitter=1.0):
    decision = retry.decide(delivery.attempt + 1, outcome, jitter)
    result = Result(
        delivery, worker, decision.state, decision.delay_ms, decision.hold_ms, outcome, at=now, duration_ms=7
    )
    (answer,) = await claims.record(store, [result], now=now)
    return answer


async def due(store, target=HOOK):
    return await store.redis.zscore(keys.due(store.shard_of(target), keys.kind_of(target)), target)


async def test_an_event_becomes_one_delivery_per_target(store):
    """Handling a stream entry twice creates nothing twice."""
    first = await deliveries.create(store, [new("a"), new("b"), new("a", "webhook:2")], now=T)
    again = await deliveries.create(store, [new("b"), new("a"), new("c")], now=T)
    assert None not in first
    assert again[:2] == [None, None]
    assert again[2] is not None
    assert (await delivery_history.listing(store, HOOK)).total == 3


async def test_ids_are_unique_integers_over_shards(store):
    """With several shards the public id still names one delivery, and its number comes back from it."""
    sharded = Store(store.redis, 7)
    targets = [f"webhook:{i}" for i in range(40)]
    ids = await deliveries.create(sharded, [new("a", target) for target in targets], now=T)
    assert len(set(ids)) == 40
    for target, made in zip(targets, ids, strict=True):
        found = await delivery_history.get(sharded, target, deliveries.number_of(sharded, made))
        assert (found.id, found.target) == (made, target)


async def test_a_success(store):
    """Claimed, recorded, shown with its attempt; nothing is due any more."""
    await make(store, 1)
    (delivery,) = (await take(store)).deliveries
    assert (delivery.payload, delivery.attempt, delivery.epoch) == ('{"event": "e0"}', 0, 1)
    answer = await settle(store, delivery, now=T + 50)
    assert answer.accepted
    shown = await delivery_history.get(store, HOOK, delivery.number)
    assert (shown.status, shown.response_status, shown.response_body) == ("success", 200, "fine")
    assert (shown.finished, shown.attempt, len(shown.attempts)) == (T + 50, 1, 1)
    assert (shown.attempts[0].duration_ms, shown.attempts[0].status) == (7, 200)
    assert await due(store) is None
    (stats,) = await delivery_history.stats(store, [HOOK])
    assert (stats.success_count, stats.failure_count, stats.pending) == (1, 0, 0)
    assert stats.last_triggered == T + 50


async def test_the_whole_schedule_under_a_controlled_clock(store):
    """Eight attempts, each in its window, by a new worker each time; then a dead letter. None skipped, none doubled."""
    await make(store, 1)
    now = T
    for attempt, wait in enumerate((*retry.SCHEDULE, None), 1):
        assert not (await take(store, now=now - 1)).deliveries
        (delivery,) = (await take(store, worker=f"w{attempt}", now=now)).deliveries
        assert delivery.attempt == attempt - 1
        await settle(store, delivery, BAD, f"w{attempt}", now, jitter=0.9)
        if wait:
            now += round(wait * 900)
            assert await due(store) == now
    shown = await delivery_history.get(store, HOOK, delivery.number)
    assert (shown.status, shown.attempt) == ("failed", 8)
    assert [attempt.number for attempt in shown.attempts] == list(range(1, 9))
    assert await due(store) is None
    assert not (await take(store, now=now + 10**9)).deliveries
    (stats,) = await delivery_history.stats(store, [HOOK])
    assert (stats.failure_count, stats.consecutive, stats.failing_since) == (1, 8, T)


async def test_racing_workers_claim_each_delivery_once(store):
    """Many at once share what is there, and go on until no place is free."""
    await make(store, 60)
    numbers = []

    async def work(worker):
        while True:
            claimed = await take(store, worker=worker, limit=5)
            numbers.extend(d.number for d in claimed.deliveries)
            if claimed.full:
                return

    await asyncio.gather(*[work(f"w{i}") for i in range(10)])
    assert len(numbers) == len(set(numbers)) == orders.IN_FLIGHT


async def test_the_in_flight_cap_holds_over_all_workers(store):
    """Twenty at a time, whoever asks; a result makes room."""
    await make(store, 50)
    first = await take(store, worker="w1", limit=15)
    second = await take(store, worker="w2", limit=15)
    assert (len(first.deliveries), len(second.deliveries)) == (15, 5)
    assert second.more
    assert not (await take(store, worker="w3")).deliveries
    await settle(store, first.deliveries[0])
    assert len((await take(store, worker="w3")).deliveries) == 1


async def test_five_failures_in_a_row_leave_one_place(store):
    """The circuit: an endpoint that always fails gets one try at a time, until one succeeds."""
    await make(store, 40)
    for delivery in (await take(store, limit=5)).deliveries:
        await settle(store, delivery, BAD)
    (probe,) = (await take(store)).deliveries
    assert not (await take(store)).deliveries
    await settle(store, probe)
    assert len((await take(store)).deliveries) == orders.IN_FLIGHT


async def test_a_stale_result_is_refused(store):
    """A worker that was stopped past its time finds its delivery in other hands and changes nothing."""
    await make(store, 1)
    (stale,) = (await take(store, worker="sleeper")).deliveries
    await workers.reclaim(store, 0, "webhook", now=T + 10_000)
    (fresh,) = (await take(store, worker="w2", now=T + 10_000)).deliveries
    assert not (await settle(store, stale, worker="sleeper", now=T + 11_000)).accepted
    assert (await settle(store, fresh, BAD, "w2", T + 12_000)).accepted
    assert not (await settle(store, stale, worker="sleeper", now=T + 13_000)).accepted
    shown = await delivery_history.get(store, HOOK, fresh.number)
    assert (shown.status, shown.attempt) == ("pending", 1)


async def test_a_workers_own_older_claim_is_stale_too(store):
    """The epoch tells two claims by the same worker apart, before and after the second one."""
    await make(store, 1)
    (first,) = (await take(store)).deliveries
    await claims.record(store, [Result(first, "w1", "release")], now=T)
    assert not (await settle(store, first)).accepted
    (second,) = (await take(store)).deliveries
    assert not (await settle(store, first)).accepted
    assert (await settle(store, second, BAD)).accepted


async def test_the_same_result_sent_twice_counts_once(store):
    """The answer to a record may be lost; sending it again is accepted and changes nothing."""
    await make(store, 1)
    (delivery,) = (await take(store)).deliveries
    assert (await settle(store, delivery)).accepted
    assert (await settle(store, delivery)).accepted
    (stats,) = await delivery_history.stats(store, [HOOK])
    assert stats.success_count == 1


async def test_a_living_workers_claims_stay(store):
    """Only a worker whose key is gone loses its claims."""
    await workers.renew(store, "w1")
    await make(store, 1)
    await take(store, worker="w1")
    assert await workers.reclaim(store, 0, "webhook", now=T + 10_000) == []
    await workers.retire(store, "w1")
    assert len(await workers.reclaim(store, 0, "webhook", now=T + 10_000)) == 1
    assert await due(store) == T + 10_000


async def test_a_claim_whose_answer_was_lost_comes_back(store):
    """A living worker gives back what it holds without knowing."""
    await workers.renew(store, "w1")
    await make(store, 2)
    first, second = (await take(store, worker="w1")).deliveries
    known = {(HOOK, first.number, first.epoch)}
    lost = await workers.reclaim(
        store,
        0,
        "webhook",
        orphaned=lambda claim: (claim.target, claim.number, claim.epoch) not in known,
        now=T + 10_000,
    )
    assert [claim.number for claim in lost] == [second.number]
    assert [d.number for d in (await take(store, now=T + 10_000)).deliveries] == [second.number]


async def test_vanishing_workers_consume_no_attempt_until_the_fifth_time(store):
    """A restart costs nothing; a delivery that kills its workers comes to an end."""
    await make(store, 1)
    now = T
    for _ in range(4):
        assert (await take(store, worker="mortal", now=now)).deliveries[0].attempt == 0
        now += 10_000
        await workers.reclaim(store, 0, "webhook", now=now)
    await take(store, worker="mortal", now=now)
    await workers.reclaim(store, 0, "webhook", now=now + 10_000)
    (shown,) = (await delivery_history.listing(store, HOOK)).items
    assert (shown.status, shown.attempt, shown.next) == ("pending", 1, now + 15_000)
    assert "vanished" in shown.error


async def test_a_release_consumes_no_attempt(store):
    """A stopping worker gives its claims back at once."""
    await make(store, 1)
    (delivery,) = (await take(store)).deliveries
    await claims.record(store, [Result(delivery, "w1", "release")], now=T + 1)
    (again,) = (await take(store, worker="w2", now=T + 1)).deliveries
    assert (again.attempt, again.number) == (0, delivery.number)


async def test_an_exact_wait_holds_the_whole_target(store):
    """After Telegram's 429 nothing goes there until its time has come."""
    await make(store, 3)
    (first,) = (await take(store, limit=1)).deliveries
    await settle(store, first, retry.Outcome(429, retry_after=30, exact=True))
    assert not (await take(store, now=T + 29_999)).deliveries
    assert await due(store) == T + 30_000
    assert len((await take(store, now=T + 30_000)).deliveries) == 3


async def test_a_disabled_target_waits(store):
    """Its deliveries stay pending and go on when it is enabled."""
    await make(store, 2)
    (held,) = (await take(store, limit=1)).deliveries
    await deliveries.disable(store, HOOK, now=T)
    assert await due(store) is None
    assert not (await take(store)).deliveries
    assert (await settle(store, held, BAD)).accepted
    assert await due(store) is None
    await deliveries.enable(store, HOOK, now=T)
    assert await due(store) == T
    (stats,) = await delivery_history.stats(store, [HOOK])
    assert (stats.disabled, stats.failing_since, stats.pending) == (None, None, 2)


async def test_redelivery_is_a_new_delivery_of_the_same_event(store):
    """The old one stays as it ended and names its successor; a pending one cannot be repeated."""
    await make(store, 1)
    (delivery,) = (await take(store)).deliveries
    with pytest.raises(Conflict):
        await deliveries.redeliver(store, [await delivery_history.get(store, HOOK, delivery.number)])
    await settle(store, delivery)
    old = await delivery_history.get(store, HOOK, delivery.number)
    (made,) = await deliveries.redeliver(store, [old], now=T)
    (again,) = (await take(store)).deliveries
    assert (again.id, again.event, again.payload) == (made, old.event, old.payload)
    assert (await delivery_history.get(store, HOOK, made)).redelivery_of == old.number
    old = await delivery_history.get(store, HOOK, old.number)
    assert (old.status, old.redelivered_as) == ("success", made)


async def test_lists_page_newest_first_with_totals(store):
    """By state or all together."""
    await make(store, 9)
    for i, delivery in enumerate((await take(store, limit=6)).deliveries):
        outcome = GOOD if i % 2 else retry.Outcome(404, permanent=True)
        await settle(store, delivery, outcome)
    page = await delivery_history.listing(store, HOOK, limit=4, offset=2)
    assert ([d.id for d in page.items], page.total) == ([7, 6, 5, 4], 9)
    failed = await delivery_history.listing(store, HOOK, status="failed", limit=2)
    assert ([d.id for d in failed.items], failed.total) == ([5, 3], 3)
    await take(store, limit=1)
    pending = await delivery_history.listing(store, HOOK, status="pending")
    assert ([d.shown for d in pending.items], pending.total) == (["pending"] * 3, 3)
    assert (await delivery_history.listing(store, "webhook:9")).total == 0
    with pytest.raises(NotFound):
        await delivery_history.get(store, HOOK, 99)


async def test_a_walk_sees_all_since_a_time(store, monkeypatch):
    """In steps, newest first, and stops at the time asked for."""
    monkeypatch.setattr(delivery_history, "STEP", 3)
    await make(store, 4, now=T, prefix="old")
    await make(store, 7, now=T + 5)
    walked = [
        d.number async for part in delivery_history.walk(store, HOOK, "pending", since=T + 5) for d in part
    ]
    assert walked == list(range(11, 4, -1))


async def test_retention_keeps_the_newest_successes_and_the_counters(store):
    """Old successes go, their count stays."""
    await make(store, 20)
    for delivery in (await take(store)).deliveries:
        await settle(store, delivery)
    assert await delivery_upkeep.trim(store, HOOK, keep=5) == 15
    page = await delivery_history.listing(store, HOOK)
    assert ([d.id for d in page.items], page.total) == ([20, 19, 18, 17, 16], 5)
    (stats,) = await delivery_history.stats(store, [HOOK])
    assert stats.success_count == 20
    assert len(await store.redis.keys("mp:{0}:delivery:*")) == 5


async def test_finished_deliveries_expire_and_leave_the_lists(store):
    """After 30 days a dead letter is gone, from the list too."""
    await make(store, 3)
    for delivery in (await take(store)).deliveries:
        await settle(store, delivery, retry.Outcome(404, permanent=True))
    assert 0 < await store.redis.pttl(keys.delivery(0, HOOK, 1)) <= 30 * 86_400_000
    assert 0 < await store.redis.pttl(keys.of_target(0, "dead", HOOK)) <= 30 * 86_400_000
    await store.redis.delete(keys.delivery(0, HOOK, 1))
    assert (await delivery_history.listing(store, HOOK, status="failed")).total == 2


async def test_seen_events_are_forgotten_in_time(store):
    """An event is remembered while among the newest 2,000 or younger than five minutes."""
    for start in range(0, 2_500, 100):
        await deliveries.create(store, [new(f"e{i}") for i in range(start, start + 100)], now=T)
    seen = keys.of_target(0, "seen", HOOK)
    assert await store.redis.zcard(seen) == 2_500
    for i in range(5):
        await deliveries.create(store, [new(f"later{i}")], now=T + 301_000)
    assert await store.redis.zcard(seen) == 2_000


async def test_a_deleted_target_leaves_nothing_but_a_tombstone(store):
    """Also while claims are under way; and a dispatcher that has not heard creates nothing."""
    await make(store, 450)
    held = (await take(store)).deliveries
    await settle(store, held[0])
    await settle(store, held[1], retry.Outcome(404, permanent=True))
    assert await delivery_upkeep.delete_target(store, HOOK) == 450
    assert not (await settle(store, held[2])).accepted
    assert await make(store, 1, prefix="late") == [None]
    left = await store.redis.keys("*")
    assert sorted(left) == sorted(
        [
            *(keys.of_target(0, "target", HOOK), keys.sequence(0), keys.events(0)),
            *[k for k in left if "{c}" in k],
        ]
    )
    assert await store.redis.pttl(keys.of_target(0, "target", HOOK)) > 0


async def test_due_targets_are_given_to_one_worker_each(store):
    """Of racing schedulers one gets a target; a second later it is due again if nobody came."""
    await make(store, 1)
    await make(store, 1, "channel:5")
    woken = await asyncio.gather(*[scheduler.take_due(store, 0, "webhook", now=T) for _ in range(5)])
    assert [w.targets for w in woken if w.targets] == [[HOOK]]
    assert (await scheduler.take_due(store, 0, "webhook", now=T + 400)).following == 600
    assert (await scheduler.take_due(store, 0, "webhook", now=T + 1_000)).targets == [HOOK]
    assert (await scheduler.take_due(store, 0, "email", now=T)).following is None


async def test_claims_of_many_targets_come_in_one_call(store):
    """A batch over targets answers each in its place."""
    targets = [f"webhook:{i}" for i in range(50)]
    await deliveries.create(store, [new(f"e{i}", t) for t in targets for i in range(3)], now=T)
    wants = [Want(target, 2) for target in targets]
    claimed = await claims.claim(store, "w1", wants, now=T)
    assert [[d.target for d in c.deliveries] for c in claimed] == [[t, t] for t in targets]
    results = [Result(d, "w1", "success", outcome=GOOD) for c in claimed for d in c.deliveries]
    answers = await claims.record(store, results, now=T)
    assert all(a.accepted and a.kept == 2 for a in answers)


async def test_a_storm_becomes_a_digest(store):
    """Five singles, and after two seconds one digest of all the rest, drained in batches."""
    await make(store, 700, CHANNEL)
    singles = await take(store, CHANNEL, digest=True)
    assert (len(singles.deliveries), singles.digest, singles.more) == (5, 0, False)
    assert await due(store, CHANNEL) == T + 2_000
    assert not (await take(store, CHANNEL, worker="w2", now=T + 1_999, digest=True)).deliveries
    for delivery in singles.deliveries:
        await settle(store, delivery)
    digest = await take(store, CHANNEL, now=T + 2_000, digest=True)
    assert digest.digest == T + 2_000
    members = list(digest.deliveries)
    assert members[0].payload
    rest = orders.MEMBERS_PER_CALL
    while part := await claims.claim_members(store, "w1", CHANNEL, digest.digest, now=T + 2_000):
        assert len(part) <= rest
        members += part
    assert len({d.number for d in members}) == 695
    results = [Result(d, "w1", "success", outcome=GOOD, counts=not i) for i, d in enumerate(members)]
    assert all(a.accepted for a in await claims.record(store, results, now=T + 2_500))
    assert await due(store, CHANNEL) is None


async def test_only_one_of_racing_workers_starts_the_digest(store):
    """The burst's compare-and-set lets one win; the others find nothing to do."""
    await make(store, 5 + orders.MEMBERS_PER_CALL, CHANNEL)
    first = await asyncio.gather(*[take(store, CHANNEL, f"w{i}", digest=True) for i in range(6)])
    assert sum(len(c.deliveries) for c in first) == 5
    later = await asyncio.gather(*[take(store, CHANNEL, f"w{i}", T + 2_000, digest=True) for i in range(6)])
    assert [len(c.deliveries) for c in later if c.deliveries] == [orders.MEMBERS_PER_CALL]


async def test_failed_singles_join_the_digest(store):
    """Retries that fall due in a storm are told with the crowd."""
    await make(store, 6, CHANNEL)
    for delivery in (await take(store, CHANNEL, digest=True)).deliveries:
        await settle(store, delivery, BAD)
    assert len((await take(store, CHANNEL, now=T + 2_000, digest=True)).deliveries) == 1
    claimed = await take(store, CHANNEL, now=T + 5_000, digest=True)
    assert not claimed.deliveries
    await settle(store, await delivery_history.get(store, CHANNEL, 6), BAD, now=T + 5_000)
    digest = await take(store, CHANNEL, now=T + 12_000, digest=True)
    assert len(digest.deliveries) >= 5


async def test_a_full_script_call_is_a_bounded_number_of_commands(store):
    """Full batches of every script stay within 5 ms, at the 2 µs that a command inside a script takes at most.

    Commands are counted, for a count is the same on a busy machine.
    """
    outcome = retry.Outcome(500, "x" * 1000, "failed")
    await deliveries.create(store, [new("warm", "webhook:1")], now=T)
    counts = {}
    items = [new(f"e{i}", f"webhook:{i}", meta="m" * 200) for i in range(deliveries.CREATE_BATCH)]
    before = await commands(store)
    await deliveries.create(store, items, now=T)
    counts["create"] = await commands(store) - before
    wants = [Want(f"webhook:{i}") for i in range(claims.TARGETS_PER_CALL)]
    before = await commands(store)
    got = await claims.claim(store, "w1", wants, now=T)
    counts["peek and claim"] = await commands(store) - before
    await make(store, orders.MEMBERS_PER_CALL, CHANNEL)
    await take(store, CHANNEL, digest=True)
    before = await commands(store)
    digest = await take(store, CHANNEL, now=T + 2_000, digest=True)
    counts["digest"] = await commands(store) - before
    taken = [*(d for c in got for d in c.deliveries), *digest.deliveries][: claims.RECORDS_PER_CALL]
    before = await commands(store)
    await claims.record(store, [Result(d, "w1", "dead", outcome=outcome) for d in taken], now=T)
    counts["record"] = await commands(store) - before
    assert len(taken) == claims.RECORDS_PER_CALL
    assert {name: count for name, count in counts.items() if count > 2_500} == {}, counts


async def commands(store) -> int:
    """How many commands the server has run, those inside scripts included."""
    stats = await store.redis.info("commandstats")
    return sum(entry["calls"] for entry in stats.values())

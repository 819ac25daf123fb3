"""A state machine over the delivery ledger: any order of what may happen keeps its invariants."""

import asyncio
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from servers import Server

from shared import claims, deliveries, delivery_history, keys, retry, workers
from shared.claims import Result
from shared.connection import Store, connect
from shared.deliveries import NewDelivery
from shared.orders import Want

TARGETS = ("webhook:1", "channel:1")
WORKERS = ("w1", "w2")
FINAL = ("success", "failed")
targets = st.sampled_from(TARGETS)
outcomes = st.sampled_from(
    [
        retry.Outcome(200),
        retry.Outcome(500),
        retry.Outcome(410),
        retry.Outcome(error="timeout"),
        retry.Outcome(429, retry_after=40, exact=True),
        retry.Outcome(503, retry_after=7),
    ]
)


class Ledger(RuleBasedStateMachine):
    """Creates, claims, results, crashes, releases, redeliveries, switches and clock steps in any order."""

    loop: asyncio.AbstractEventLoop
    store: Store

    def __init__(self):
        super().__init__()
        self.now = 1_800_000_000_000
        self.events = 0
        self.held: dict[tuple[str, int, int], tuple[str, deliveries.Delivery]] = {}
        self.stale: list[tuple[str, deliveries.Delivery, bool]] = []
        self.ended: dict[tuple[str, int], str] = {}
        self.attempts: dict[tuple[str, int], int] = {}
        self.disabled: set[str] = set()
        self.digests: dict[tuple[str, int], int] = {}
        """The digest that a delivery was last claimed for."""
        self.sealed: set[int] = set()
        self.bound: dict[tuple[str, int], int] = {}
        self.run(self.store.redis.flushall())

    def run(self, coroutine):
        return self.loop.run_until_complete(coroutine)

    @rule(target_name=targets, count=st.integers(1, 8))
    def create(self, target_name, count):
        items = [NewDelivery(target_name, f"e{self.events + i}", "a.b", "{}", 1) for i in range(count)]
        self.events += count
        made = self.run(deliveries.create(self.store, items, now=self.now))
        assert None not in made
        assert self.run(deliveries.create(self.store, items, now=self.now)) == [None] * count

    @rule(worker=st.sampled_from(WORKERS))
    def storm(self, worker):
        """More than is told one by one, and its digest in a worker's hands if places are free."""
        self.create("channel:1", 11)
        self.claim("channel:1", worker, 20)
        self.now += 10_000
        self.claim("channel:1", worker, 20)

    @rule(target_name=targets, worker=st.sampled_from(WORKERS), limit=st.integers(1, 25))
    def claim(self, target_name, worker, limit):
        want = Want(target_name, limit, digest=target_name.startswith("channel"))
        (claimed,) = self.run(claims.claim(self.store, worker, [want], now=self.now))
        assert not (claimed.deliveries and target_name in self.disabled)
        members = claimed.deliveries + (self._gather(worker, claimed) if claimed.digest else [])
        self._belong(target_name, claimed, {delivery.number for delivery in members})
        for delivery in members:
            name = (target_name, delivery.number)
            assert not any(key[:2] == name for key in self.held), "two open attempts"
            assert name not in self.ended
            assert delivery.next <= self.now or claimed.bound
            assert delivery.attempt == self.attempts.get(name, 0)
            self.held[(*name, delivery.epoch)] = (worker, delivery)

    def _gather(self, worker, claimed):
        """The rest of a digest; it is sealed at once or never."""
        target_name, found = claimed.deliveries[0].target, []
        while more := self.run(
            claims.claim_members(
                self.store, worker, target_name, claimed.digest, bound=claimed.bound, now=self.now
            )
        ):
            found += more
        if claimed.bound or self.events % 2:
            members = claimed.deliveries + found
            assert self.run(claims.seal(self.store, worker, members, now=self.now))
            self.sealed.add(claimed.digest)
        return found

    def _belong(self, target_name, claimed, numbers):
        """What is bound comes as it was, and all of it; what is not comes in a message that never was."""
        for number in numbers:
            message = self.bound.get((target_name, number))
            assert (message == claimed.digest) if claimed.bound else message is None
            self.digests[target_name, number] = claimed.digest
        if claimed.digest and claimed.bound:
            mine = {key[1] for key, digest in self.bound.items() if digest == claimed.digest}
            assert numbers == {number for number in mine if (target_name, number) not in self.ended}

    @rule(data=st.data(), outcome=outcomes, jitter=st.floats(0.8, 1.2))
    def record(self, data, outcome, jitter):
        if not self.held:
            return
        key = data.draw(st.sampled_from(sorted(self.held)))
        worker, delivery = self.held.pop(key)
        decision = retry.decide(delivery.attempt + 1, outcome, jitter)
        result = Result(delivery, worker, decision.state, decision.delay_ms, decision.hold_ms, outcome)
        for _ in range(data.draw(st.integers(1, 2))):
            (answer,) = self.run(claims.record(self.store, [result], now=self.now))
            assert answer.accepted
        name = key[:2]
        self.attempts[name] = self.attempts.get(name, 0) + 1
        if decision.state != "retry":
            self.ended[name] = "failed" if decision.state == "dead" else "success"
        self.stale.append((worker, delivery, True))

    @rule(data=st.data())
    def release(self, data):
        if self.held:
            key = data.draw(st.sampled_from(sorted(self.held)))
            worker, delivery = self.held.pop(key)
            self.run(claims.record(self.store, [Result(delivery, worker, "release")], now=self.now))
            self.stale.append((worker, delivery, False))

    @rule(worker=st.sampled_from(WORKERS))
    def crash(self, worker):
        """The worker vanishes; five seconds later its claims are back."""
        for other in WORKERS:
            self.run(
                workers.retire(self.store, other) if other == worker else workers.renew(self.store, other)
            )
        self.now += 5_000
        for kind in ("webhook", "channel"):
            self.run(workers.reclaim(self.store, 0, kind, now=self.now))
        for key, (holder, delivery) in list(self.held.items()):
            if holder == worker:
                del self.held[key]
                self.stale.append((holder, delivery, False))
                self._vanished(key[0], key[1])
                digest = self.digests[key[:2]]
                if keys.kind_of(key[0]) == "channel" and (not digest or digest in self.sealed):
                    self.bound[key[:2]] = digest

    def _vanished(self, target_name, number):
        """The fifth vanishing in a row is a failed attempt."""
        shown = self.run(delivery_history.get(self.store, target_name, number))
        name = (target_name, number)
        before = self.attempts.get(name, 0)
        assert shown.attempt in (before, before + 1)
        self.attempts[name] = shown.attempt
        if shown.status in FINAL:
            self.ended[name] = shown.status

    @rule(data=st.data())
    def a_sleeper_wakes(self, data):
        """A result of a claim that is over changes nothing."""
        if not self.stale:
            return
        again = {key[:2] for key in self.held}
        risky = [one for one in self.stale if (one[1].target, one[1].number) in again]
        worker, delivery, recorded = data.draw(st.sampled_from(risky or self.stale))
        before = self.run(delivery_history.get(self.store, delivery.target, delivery.number))
        result = Result(delivery, worker, "success", outcome=retry.Outcome(200))
        (answer,) = self.run(claims.record(self.store, [result], now=self.now))
        assert recorded or not answer.accepted
        assert self.run(delivery_history.get(self.store, delivery.target, delivery.number)) == before

    @rule(data=st.data())
    def redeliver(self, data):
        if not self.ended:
            return
        target_name, number = data.draw(st.sampled_from(sorted(self.ended)))
        old = self.run(delivery_history.get(self.store, target_name, number))
        (made,) = self.run(deliveries.redeliver(self.store, [old], now=self.now))
        assert made > number

    @rule(target_name=targets, on=st.booleans())
    def switch(self, target_name, on):
        (self.disabled.discard if on else self.disabled.add)(target_name)
        self.run((deliveries.enable if on else deliveries.disable)(self.store, target_name, now=self.now))

    @rule(step=st.sampled_from([1, 2_000, 10_000, 400_000, 40_000_000]))
    def clock(self, step):
        self.now += step

    @invariant()
    def what_ended_stays_ended(self):
        for (target_name, number), status in self.ended.items():
            assert self.run(delivery_history.get(self.store, target_name, number)).status == status

    @invariant()
    def sets_and_hashes_agree(self):
        for target_name in TARGETS:
            self.run(self._check(target_name))

    async def _check(self, target_name):
        redis = self.store.redis
        names = ("queue", "inflight", "pending", "done", "dead")
        sets = {name: await redis.zrange(keys.of_target(0, name, target_name), 0, -1) for name in names}
        found = sets["pending"] + sets["done"] + sets["dead"]
        assert len(found) == len(set(found))
        assert sorted(sets["pending"]) == sorted(sets["queue"] + sets["inflight"])
        for number in map(int, found):
            shown = await delivery_history.get(self.store, target_name, number)
            assert len(shown.attempts) == shown.attempt == self.attempts.get((target_name, number), 0)
            place = {"pending": "queue", "sending": "inflight", "success": "done", "failed": "dead"}[
                shown.status
            ]
            assert str(number) in sets[place]
            if place == "queue":
                score = await redis.zscore(keys.of_target(0, "queue", target_name), str(number))
                assert score == shown.next
        marked = dict(await redis.zrange(keys.of_target(0, "repeats", target_name), 0, -1, withscores=True))
        bound = {str(key[1]): digest for key, digest in self.bound.items() if key[0] == target_name}
        assert marked == {number: digest for number, digest in bound.items() if number in sets["queue"]}
        await self._check_marks(target_name, sets)

    async def _check_marks(self, target_name, sets):
        """`due` names exactly the targets with something to claim, `sending` those with claims."""
        redis, kind = self.store.redis, keys.kind_of(target_name)
        due = await redis.zscore(keys.due(0, kind), target_name)
        assert (due is not None) == (bool(sets["queue"]) and target_name not in self.disabled)
        if due is not None:
            (first,) = await redis.zrange(keys.of_target(0, "queue", target_name), 0, 0, withscores=True)
            assert due >= first[1] or due <= self.now
            assert due <= max(first[1], self.now + 60_000)
        marked = await redis.zscore(keys.sending(0, kind), target_name)
        assert (marked is not None) == bool(sets["inflight"])


@pytest.fixture
def machine(server: Server) -> Iterator[type[Ledger]]:
    loop = asyncio.new_event_loop()
    Ledger.loop, Ledger.store = loop, Store(connect(server.url), 1)
    yield Ledger
    loop.run_until_complete(Ledger.store.redis.aclose())
    loop.close()


def test_any_order_keeps_the_invariants(machine):
    """One open attempt at a time, numbers without gaps, nothing after success, due set and hashes agree."""
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=25,
            stateful_step_count=35,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )

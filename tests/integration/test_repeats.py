"""What a vanished worker may have sent is sent again as it was: alone, or in the digest that it was in."""

import pytest

from shared import claims, deliveries, delivery_upkeep, keys, retry, workers
from shared.claims import Result
from shared.connection import Store
from shared.deliveries import Delivery, NewDelivery
from shared.orders import MEMBERS_PER_CALL, Want

T = 1_800_000_000_000
CHANNEL = "channel:1"
GOOD = retry.Outcome(200, "fine")
BAD = retry.Outcome(500, "oh")
STORM = 5 + 2 * MEMBERS_PER_CALL + 10
"""Five singles, and a digest of more than two claims."""


async def make(store: Store, count: int, prefix: str = "e", now: int = T, target: str = CHANNEL) -> None:
    items = [NewDelivery(target, f"{prefix}{i}", "a.b", "{}", T) for i in range(count)]
    await deliveries.create(store, items, now=now)


async def take(store: Store, worker: str, now: int, target: str = CHANNEL) -> claims.Claimed:
    (claimed,) = await claims.claim(store, worker, [Want(target, digest=target == CHANNEL)], now=now)
    return claimed


async def whole(store: Store, worker: str, now: int) -> list[Delivery]:
    """A digest with all its members, as a worker gathers them; [] when there is none to be had."""
    claimed = await take(store, worker, now)
    if not claimed.digest:
        assert not claimed.deliveries
        return []
    members = list(claimed.deliveries)
    while more := await claims.claim_members(
        store, worker, CHANNEL, claimed.digest, bound=claimed.bound, now=now
    ):
        members += more
    return members


async def settle(store: Store, members: list[Delivery], worker: str, now: int, outcome=GOOD) -> None:
    verdicts = [retry.decide(one.attempt + 1, outcome, 1.0) for one in members]
    results = [
        Result(one, worker, fate.state, fate.delay_ms, outcome=outcome)
        for one, fate in zip(members, verdicts, strict=True)
    ]
    assert all(answer.accepted for answer in await claims.record(store, results, now=now))


async def vanish(store: Store, now: int) -> list[workers.Claim]:
    """Nobody renews a worker's key here, so every claim that is old enough is taken back."""
    return await workers.reclaim(store, 0, "channel", now=now)


async def storm(store: Store, worker: str = "w1") -> list[Delivery]:
    """Five singles told, and the digest of the rest in a worker's hands; returns its members."""
    await make(store, STORM)
    await settle(store, (await take(store, "w0", T)).deliveries, "w0", T)
    return await whole(store, worker, T + 2_000)


def numbers(members: list[Delivery]) -> list[int]:
    return sorted(one.number for one in members)


async def bound(store: Store) -> int:
    return int(await store.redis.zcard(keys.of_target(0, "repeats", CHANNEL)))


async def test_singles_come_again_alone_whatever_is_due_meanwhile(store: Store) -> None:
    """They are messages that a receiver may have, so no digest swallows them; what is new gets its digest."""
    await make(store, STORM)
    singles = (await take(store, "w1", T)).deliveries
    assert len(singles) == 5
    await vanish(store, T + 5_000)
    await make(store, 20, "late", T + 5_000)
    again = await take(store, "w2", T + 5_000)
    assert (again.digest, numbers(again.deliveries)) == (0, numbers(singles))
    digest = await whole(store, "w2", T + 5_000)
    assert len(digest) == STORM - 5 + 20
    assert not set(numbers(digest)) & set(numbers(singles))
    await settle(store, again.deliveries, "w2", T + 5_000)
    assert await bound(store) == 0


async def test_a_digest_comes_again_with_its_name_and_its_members(store: Store) -> None:
    """What came due since belongs to another."""
    digest = await storm(store)
    assert await claims.seal(store, "w1", digest, now=T + 2_000)
    await make(store, 20, "late", T + 3_000)
    await vanish(store, T + 13_000)
    again = await whole(store, "w2", T + 13_000)
    assert numbers(again) == numbers(digest)
    assert {one.digest for one in again} == {one.digest for one in digest} == {T + 2_000}
    assert await claims.seal(store, "w2", again, now=T + 13_000)
    await settle(store, again, "w2", T + 13_000)
    other = await whole(store, "w2", T + 24_000)
    assert len(other) == 20
    assert {one.digest for one in other} == {T + 24_000}
    await settle(store, other, "w2", T + 24_000)
    assert not await store.redis.exists(keys.of_target(0, "digests", CHANNEL))


async def test_a_digest_that_was_not_sealed_was_not_sent(store: Store) -> None:
    """Its members are free for the next one, and its worker, waking, is refused."""
    digest = await storm(store)
    await vanish(store, T + 7_000)
    assert await bound(store) == 0
    await make(store, 20, "late", T + 7_000)
    assert not await claims.seal(store, "w1", digest, now=T + 7_000)
    other = await whole(store, "w2", T + 13_000)
    assert set(numbers(digest)) < set(numbers(other))
    assert other[0].digest == T + 13_000
    assert not await claims.seal(store, "w1", digest, now=T + 13_000)
    assert await claims.seal(store, "w2", other, now=T + 13_000)


async def test_a_digest_waits_until_all_its_members_are_back(store: Store) -> None:
    """A part of it under its name would make receivers drop the rest."""
    digest = await storm(store)
    assert await claims.seal(store, "w1", digest, now=T + 2_000)
    parts = digest[:-10], digest[-10:]
    for part in parts:
        assert await whole(store, "w2", T + 13_000) == []
        lost = [Result(one, "w1", "reclaim", unheard=True) for one in part]
        await claims.record(store, lost, now=T + 13_000)
    again = await whole(store, "w2", T + 13_000)
    assert numbers(again) == numbers(digest)


async def test_a_digest_waits_while_one_that_repeats_it_vanishes_too(store: Store) -> None:
    """Its first members in one worker's hands, nobody sends the rest."""
    digest = await storm(store)
    assert await claims.seal(store, "w1", digest, now=T + 2_000)
    await vanish(store, T + 7_000)
    first = await take(store, "w2", T + 7_000)
    assert (first.digest, len(first.deliveries)) == (T + 2_000, MEMBERS_PER_CALL)
    assert await whole(store, "w3", T + 7_001) == []
    await vanish(store, T + 12_000)
    assert numbers(await whole(store, "w3", T + 12_000)) == numbers(digest)


async def test_what_was_recorded_of_a_digest_does_not_come_again(store: Store) -> None:
    """The rest does, under the name that its receiver knows."""
    digest = await storm(store)
    assert await claims.seal(store, "w1", digest, now=T + 2_000)
    await settle(store, digest[:40], "w1", T + 3_000)
    await vanish(store, T + 7_000)
    again = await whole(store, "w2", T + 7_000)
    assert numbers(again) == numbers(digest[40:])
    assert again[0].digest == T + 2_000


async def test_a_failure_that_was_recorded_frees_what_never_vanished(store: Store) -> None:
    """Its receiver answered, so its next attempt may be part of another digest."""
    digest = await storm(store)
    assert await claims.seal(store, "w1", digest, now=T + 2_000)
    await settle(store, digest, "w1", T + 3_000, BAD)
    await make(store, 20, "late", T + 4_000)
    other = await whole(store, "w2", T + 13_000)
    assert len(other) == len(digest) + 20
    assert other[0].digest == T + 13_000
    assert await store.redis.hlen(keys.of_target(0, "digests", CHANNEL)) == 0


async def test_what_vanished_once_stays_bound_through_failures(store: Store) -> None:
    """Its first worker may wake and send it at any time."""
    await make(store, 3)
    (first, *_) = (await take(store, "w1", T)).deliveries
    digest_due = T + 40_000
    await vanish(store, T + 5_000)
    again = (await take(store, "w2", T + 5_000)).deliveries
    await settle(store, again, "w2", T + 5_000, BAD)
    assert await bound(store) == 3
    await make(store, 30, "late", digest_due - 3_000)
    await settle(store, (await take(store, "w2", digest_due - 20_000)).deliveries, "w2", digest_due - 20_000)
    assert first.number in numbers(again)
    assert await bound(store) == 0


async def test_a_bound_delivery_waits_for_its_own_time(store: Store) -> None:
    """After a failure it is due when its schedule says, as any."""
    await make(store, 1)
    await take(store, "w1", T)
    await vanish(store, T + 5_000)
    again = (await take(store, "w2", T + 5_000)).deliveries
    await settle(store, again, "w2", T + 5_000, BAD)
    assert not (await take(store, "w2", T + 9_999)).deliveries
    assert len((await take(store, "w2", T + 10_000)).deliveries) == 1


async def test_five_vanishings_are_a_failure_and_it_stays_bound(store: Store) -> None:
    """Nobody heard of any of the five."""
    await make(store, 1)
    now = T
    for _ in range(workers.VANISHED_LIMIT):
        assert len((await take(store, "w1", now)).deliveries) == 1
        now += 5_000
        await vanish(store, now)
    assert await bound(store) == 1
    (again,) = (await take(store, "w2", now + 10_000)).deliveries
    assert again.attempt == 1


async def test_members_whose_claim_went_unanswered_are_claimed_again(store: Store) -> None:
    """The client repeats a call whose answer was lost; what the first took belongs to the digest."""
    await make(store, STORM)
    await settle(store, (await take(store, "w0", T)).deliveries, "w0", T)
    claimed = await take(store, "w1", T + 2_000)
    peeked = [await claims.peek(store, [Want(CHANNEL, digest=True)], now=T + 2_000)]
    first = await claims.claim_members(store, "w1", CHANNEL, claimed.digest, now=T + 2_000)
    real = claims.peek

    async def as_before(*_args, **_more):
        return peeked[0]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(claims, "peek", as_before)
        again = await claims.claim_members(store, "w1", CHANNEL, claimed.digest, now=T + 2_000)
        assert (await claims.claim_members(store, "w2", CHANNEL, claimed.digest + 1, now=T + 2_000)) == []
    assert claims.peek is real
    assert [(one.number, one.epoch) for one in again] == [(one.number, one.epoch) for one in first]


async def test_a_webhooks_events_are_bound_to_nothing(store: Store) -> None:
    """Each is a message of its own whatever happens."""
    await make(store, 3, target="webhook:1")
    await take(store, "w1", T, "webhook:1")
    await workers.reclaim(store, 0, "webhook", now=T + 5_000)
    assert not await store.redis.exists(keys.of_target(0, "repeats", "webhook:1"))
    assert len((await take(store, "w2", T + 5_000, "webhook:1")).deliveries) == 3


async def test_a_deleted_channel_leaves_no_digest(store: Store) -> None:
    """Nor what was bound."""
    digest = await storm(store)
    assert await claims.seal(store, "w1", digest, now=T + 2_000)
    await vanish(store, T + 7_000)
    await delivery_upkeep.delete_target(store, CHANNEL)
    left = [keys.of_target(0, name, CHANNEL) for name in ("repeats", "digests")]
    assert not await store.redis.exists(*left)


async def test_a_digest_is_repeated_after_days(store: Store) -> None:
    """Whatever Redis has forgotten of it meanwhile: its members know."""
    digest = await storm(store)
    assert await claims.seal(store, "w1", digest, now=T + 2_000)
    await vanish(store, T + 7_000)
    await store.redis.delete(keys.of_target(0, "digests", CHANNEL))
    late = T + 3 * 86_400_000
    again = await whole(store, "w2", late)
    assert numbers(again) == numbers(digest)
    assert await claims.seal(store, "w2", again, now=late)
    left = keys.of_target(0, "digests", CHANNEL)
    assert await store.redis.hgetall(left) == {str(T + 2_000): str(len(digest))}
    assert await store.redis.pttl(left) > 86_000_000
    await settle(store, again, "w2", late)
    assert not await store.redis.exists(left)


async def test_a_digest_whose_number_is_gone_is_still_one(store: Store) -> None:
    """Some of it is taken back a day later than the rest."""
    digest = await storm(store)
    assert await claims.seal(store, "w1", digest, now=T + 2_000)
    for part in (digest[:-10], digest[-10:]):
        lost = [Result(one, "w1", "reclaim", unheard=True) for one in part]
        await claims.record(store, lost, now=T + 90_000_000)
        await store.redis.delete(keys.of_target(0, "digests", CHANNEL))
    assert numbers(await whole(store, "w2", T + 90_000_000)) == numbers(digest)


async def test_a_part_of_a_digest_is_not_sealed_again(store: Store) -> None:
    """Its worker got no more of it: the channel was held meanwhile, or another has the rest."""
    digest = await storm(store)
    assert await claims.seal(store, "w1", digest, now=T + 2_000)
    await vanish(store, T + 7_000)
    first = await take(store, "w2", T + 7_000)
    assert not await claims.seal(store, "w2", first.deliveries, now=T + 7_000)
    rest = await claims.claim_members(store, "w3", CHANNEL, first.digest, bound=True, now=T + 7_000)
    more = await claims.claim_members(store, "w2", CHANNEL, first.digest, bound=True, now=T + 7_000)
    assert len(first.deliveries) + len(rest) + len(more) == len(digest)
    assert not await claims.seal(store, "w2", [*first.deliveries, *more], now=T + 7_000)


async def test_a_lost_answer_is_given_again_when_no_place_is_free(store: Store) -> None:
    """The channel was held between the call and its repetition."""
    await make(store, STORM)
    await settle(store, (await take(store, "w0", T)).deliveries, "w0", T)
    claimed = await take(store, "w1", T + 2_000)
    (before,) = await claims.peek(store, [Want(CHANNEL, digest=True)], now=T + 2_000)
    first = await claims.claim_members(store, "w1", CHANNEL, claimed.digest, now=T + 2_000)
    await store.redis.hset(keys.of_target(0, "target", CHANNEL), "hold", T + 60_000)

    async def as_before(*_args, **_more):
        return [before]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(claims, "peek", as_before)
        again = await claims.claim_members(store, "w1", CHANNEL, claimed.digest, now=T + 2_000)
    assert [(one.number, one.epoch) for one in again] == [(one.number, one.epoch) for one in first]


async def test_a_call_of_many_channels_with_much_bound_stays_short(store: Store) -> None:
    """A look at 64 of them, each with a digest to be repeated, holds the server for some milliseconds in all."""
    names = [f"channel:{number}" for number in range(64)]
    for name in names:
        await make(store, 100, target=name)
        queued = await store.redis.zrange(keys.of_target(0, "queue", name), 0, -1)
        await store.redis.zadd(keys.of_target(0, "repeats", name), dict.fromkeys(queued, T - 1_000))
    await store.redis.config_resetstat()
    seen = await claims.peek(store, [Want(name, digest=True) for name in names], now=T)
    assert [len(one.numbers) for one in seen] == [MEMBERS_PER_CALL] * 64
    calls = (await store.redis.info("commandstats"))["cmdstat_evalsha"]["calls"]
    assert calls == len(names) // claims.DIGESTS_PER_PEEK


async def test_an_old_digest_is_not_sealed(store: Store) -> None:
    """Whoever slept for an hour has lost it."""
    digest = await storm(store)
    assert not await claims.seal(store, "w1", digest, now=T + 4_000_000)


async def test_a_worker_that_sleeps_over_two_lives_of_its_digest_is_refused(store: Store) -> None:
    """It gathered a digest that is sealed, and another worker has the members now."""
    digest = await storm(store)
    assert await claims.seal(store, "w1", digest, now=T + 2_000)
    await vanish(store, T + 7_000)
    assert not await claims.seal(store, "w1", digest, now=T + 7_000)
    again = await whole(store, "w2", T + 7_000)
    assert not await claims.seal(store, "w1", digest, now=T + 7_000)
    assert await claims.seal(store, "w2", again, now=T + 7_000)

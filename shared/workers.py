"""Which workers live, and what happens to the claims of those that do not."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from shared import keys, retry
from shared.claims import Result, record
from shared.connection import Store
from shared.deliveries import Delivery, public_id

WORKER_TTL_MS: Final = 6_000
RENEW_EVERY: Final = 2.0
"""Seconds; two renewals may fail before the key expires."""
SUSPECT_AFTER_MS: Final = 3_500
"""A younger claim's worker cannot have vanished: its key outlives it by at least 4 s."""
VANISHED_LIMIT: Final = 5
TARGETS_PER_ROUND: Final = 500
CLAIMS_PER_TARGET: Final = 500


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim as the ledger shows it to whoever looks for vanished workers."""

    target: str
    number: int
    worker: str
    epoch: int
    attempt: int
    vanished: int


async def renew(store: Store, worker: str) -> None:
    """Says that a worker lives, for 6 s."""
    await store.redis.set(keys.worker(worker), "1", px=WORKER_TTL_MS)


async def retire(store: Store, worker: str) -> None:
    """Says that a worker is gone, so that nobody waits for its key to expire."""
    await store.redis.delete(keys.worker(worker))


async def reclaim(
    store: Store,
    shard: int,
    kind: str,
    *,
    orphaned: Callable[[Claim], bool] = lambda _: False,
    suspect_after_ms: int = SUSPECT_AFTER_MS,
    now: int | None = None,
) -> list[Claim]:
    """Puts back the claims of vanished workers and returns them.

    `orphaned` tells of a living worker's claim that it does not know of: the answer to its claim was lost. Any number
    of processes may race, the record's compare-and-set lets one win.
    """
    suspects = await _suspects(store, shard, kind, suspect_after_ms, now)
    living = await _living(store, {claim.worker for claim in suspects})
    lost = [claim for claim in suspects if claim.worker not in living or orphaned(claim)]
    if lost:
        await record(store, await _verdicts(store, lost), now=now)
    return lost


async def _suspects(
    store: Store, shard: int, kind: str, suspect_after_ms: int, now: int | None
) -> list[Claim]:
    """Claims old enough for their worker's key to have expired."""
    seconds, micros = await store.redis.time() if now is None else (now // 1000, now % 1000 * 1000)
    before = seconds * 1000 + micros // 1000 - suspect_after_ms
    targets = await store.redis.zrangebyscore(
        keys.sending(shard, kind), "-inf", before, start=0, num=TARGETS_PER_ROUND
    )
    if not targets:
        return []
    pipe = store.redis.pipeline(transaction=False)
    for target in targets:
        key = keys.of_target(shard, "inflight", target)
        pipe.zrangebyscore(key, "-inf", before, start=0, num=CLAIMS_PER_TARGET)
    found = await pipe.execute()
    names = [(target, n) for target, numbers in zip(targets, found, strict=True) for n in numbers]
    pipe = store.redis.pipeline(transaction=False)
    for target, number in names:
        key = keys.delivery(shard, target, number)
        pipe.hmget(key, ["worker", "epoch", "attempt", "vanished"])
    rows = await pipe.execute()
    return [
        Claim(target, int(number), row[0], *(int(value or 0) for value in row[1:]))
        for (target, number), row in zip(names, rows, strict=True)
        if row[0]
    ]


async def _living(store: Store, workers: Iterable[str]) -> set[str]:
    names = sorted(workers)
    pipe = store.redis.pipeline(transaction=False)
    for name in names:
        pipe.exists(keys.worker(name))
    return {name for name, there in zip(names, await pipe.execute(), strict=True) if there}


async def _verdicts(store: Store, lost: Sequence[Claim]) -> list[Result]:
    """What becomes of each lost claim; one whose attempt this ends is looked up, for it may become an event."""
    pipe = store.redis.pipeline(transaction=False)
    for claim in lost:
        if claim.vanished + 1 >= VANISHED_LIMIT:
            key = keys.delivery(store.shard_of(claim.target), claim.target, claim.number)
            pipe.hmget(key, ["event", "type", "meta"])
    rows = iter(await pipe.execute())
    return [
        _verdict(store, claim, *(next(rows) if claim.vanished + 1 >= VANISHED_LIMIT else ("", "", "")))
        for claim in lost
    ]


def _verdict(store: Store, claim: Claim, event: str | None, type_: str | None, meta: str | None) -> Result:
    delivery = Delivery(
        target=claim.target,
        number=claim.number,
        id=public_id(store, claim.target, claim.number),
        event=event or "",
        type=type_ or "",
        payload="",
        at=0,
        created=0,
        attempt=claim.attempt,
        epoch=claim.epoch,
        incident="",
        meta=meta or "",
        next=0,
    )
    if claim.vanished + 1 < VANISHED_LIMIT:
        return Result(delivery, claim.worker, "reclaim", unheard=True)
    outcome = retry.Outcome(error=f"its worker vanished {VANISHED_LIMIT} times")
    decision = retry.decide(claim.attempt + 1, outcome)
    return Result(delivery, claim.worker, decision.state, decision.delay_ms, outcome=outcome, unheard=True)

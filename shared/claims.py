"""The worker's side of the delivery ledger: claim, record, give back, reclaim.

A claim is made in the name of a worker whose key `worker:<id>` lives 6 s. Its epoch is the fence: once a delivery was
given back or reclaimed, its old holder's result is refused. Attempts are numbered when they are recorded, so a worker
that vanishes consumes none; but a delivery whose claims vanished 5 times in a row counts a failed attempt, so that
one that kills its workers comes to an end.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from shared import burst, dead_letters, keys, orders, retry, scripts
from shared.burst import Burst
from shared.connection import Store
from shared.deliveries import Delivery, public_id
from shared.orders import IN_FLIGHT, UNCAPPED, Order, Peek, Want

TARGETS_PER_CALL: Final = 64
DIGESTS_PER_PEEK: Final = 16
"""Targets with digests in one look: each may have a page of what is bound beside one of what is free."""
PEEKED: Final = ("queue", "inflight", "target", "burst", "repeats", "digests")
CLAIMED: Final = ("queue", "inflight", "target", "burst", "repeats")
RECORDED: Final = ("queue", "inflight", "target", "pending", "done", "dead", "repeats", "digests")
"""The keys of a target that each script takes, in its order."""
FULL: Final = 2
BURST_CHANGED: Final = -1
RECORDS_PER_CALL: Final = 24
"""Keeps a record below 1 ms."""
BODY_LIMIT: Final = 1_000
BODY_IN_ATTEMPT: Final = 200
"""Earlier answers are kept shorter: eight of them in full would be most of a dead letter's memory."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """What a worker got. `digest`: `deliveries` are the first members of this one, 0 for singles.

    It has all that was free and due at that ms or, when it is `bound`, those that it was sent with before.

    `more` says that deliveries are due that were not claimed, `full` that no place was free for them.
    """

    deliveries: list[Delivery]
    more: bool = False
    full: bool = False
    digest: int = 0
    bound: bool = False


async def claim(store: Store, worker: str, wants: Sequence[Want], *, now: int | None = None) -> list[Claimed]:
    """Claims what is due for targets of one kind in one shard, in two script calls; the answers keep the order.

    1. Peek: which numbers are due, how many places are free, the burst counters.
    2. Decide (`shared.orders`): singles, a digest, a message again, or a wait.
    3. Claim: compare-and-set in the name of `worker`; what another worker took meanwhile is left out.
    """
    peeks = await peek(store, wants, now=now)
    wanted = [orders.order(want, seen) for want, seen in zip(wants, peeks, strict=True)]
    claimed: list[Claimed] = []
    for part in orders.calls(wanted):
        claimed += await _claim(store, worker, part, now)
    return claimed


async def claim_members(
    store: Store, worker: str, target: str, digest: int, *, bound: bool = False, now: int | None = None
) -> list[Delivery]:
    """Claims more members of a digest; empty when it is complete.

    They come without payload: `meta` is there for what a digest says of its members.
    """
    if bound:
        repeats = keys.of_target(store.shard_of(target), "repeats", target)
        numbers = await store.redis.zrangebyscore(repeats, digest, digest, 0, orders.MEMBERS_PER_CALL)
    else:
        (seen,) = await peek(store, [Want(target, digest=True)], now=digest)
        marks = seen.marks or [orders.FREE] * len(seen.numbers)
        numbers = [n for n, mark in zip(seen.numbers, marks, strict=True) if mark == orders.FREE]
    order = Order(Want(target), numbers, UNCAPPED, mark=digest if bound else orders.FREE, digest=digest)
    (claimed,) = await _claim(store, worker, [order], now, brief=True)
    return claimed.deliveries


async def seal(store: Store, worker: str, members: Sequence[Delivery], *, now: int | None = None) -> bool:
    """Says that a digest of all these members is about to be sent, so that it is repeated with them alone.

    False when it must not be sent: another worker has members of it.
    """
    first = members[0]
    shard = store.shard_of(first.target)
    sets = [keys.of_target(shard, name, first.target) for name in ("digests", "repeats", "inflight")]
    names = [keys.delivery(shard, first.target, first.number), *sets]
    arguments = ["" if now is None else now, worker, first.epoch, first.digest, len(members)]
    return bool(await scripts.run(store.redis, "delivery_seal", names, arguments))


async def peek(store: Store, wants: Sequence[Want], *, now: int | None = None) -> list[Peek]:
    """What is due for each target; changes nothing."""
    found: list[Peek] = []
    step = DIGESTS_PER_PEEK if wants[0].digest else len(wants)
    for start in range(0, len(wants), step):
        found += await _peek(store, wants[start : start + step], now)
    return found


async def _peek(store: Store, wants: Sequence[Want], now: int | None) -> list[Peek]:
    shard = store.shard_of(wants[0].target)
    names: list[str] = []
    arguments: list[scripts.RunArgument] = ["" if now is None else now, IN_FLIGHT]
    for want in wants:
        names += [keys.of_target(shard, name, want.target) for name in PEEKED]
        arguments += (orders.MEMBERS_PER_CALL if want.digest else want.limit, "1" if want.digest else "")
    at, *rows = await scripts.run(store.redis, "delivery_peek", names, arguments)
    return [_seen(int(at), row) for row in rows]


def _seen(now: int, row: list[Any]) -> Peek:
    times = tuple(int(t) for t in row[3].split(",")) if row[3] else ()
    counters = Burst(row[2], times, int(row[4] or 0), int(row[5] or 0))
    return Peek(now, int(row[0]), int(row[1]), counters, row[6], row[7])


async def _claim(
    store: Store, worker: str, wanted: Sequence[Order], now: int | None, *, brief: bool = False
) -> list[Claimed]:
    shard, kind = store.shard_of(wanted[0].want.target), keys.kind_of(wanted[0].want.target)
    names = [keys.due(shard, kind), keys.sending(shard, kind)]
    arguments: list[scripts.RunArgument] = [
        "" if now is None else now,
        worker,
        "1" if brief else "",
        len(wanted),
    ]
    numbers: list[str] = []
    owners: list[int] = []
    for index, order in enumerate(wanted):
        target = order.want.target
        names += [keys.of_target(shard, name, target) for name in CLAIMED]
        arguments += (target, order.cap, len(order.numbers), order.look_again, *_burst_arguments(order.step))
        arguments += (order.mark, order.digest)
        numbers += order.numbers
        owners += [index] * len(order.numbers)
    names += [
        keys.delivery(shard, wanted[owner].want.target, number)
        for owner, number in zip(owners, numbers, strict=True)
    ]
    at, *rest = await scripts.run(store.redis, "delivery_claim", names, [*arguments, *numbers])
    flags, rows = rest[: len(wanted)], rest[len(wanted) :]
    got: list[list[Delivery]] = [[] for _ in wanted]
    for index, *fields in rows:
        owner = owners[index - 1]
        number = int(numbers[index - 1])
        got[owner].append(_delivery(store, wanted[owner], number, fields, int(at)))
    return [
        Claimed(
            items,
            _more(flag, order, int(at)),
            flag == FULL,
            order.digest if items else 0,
            order.mark != orders.FREE,
        )
        for order, items, flag in zip(wanted, got, flags, strict=True)
    ]


def _more(flag: int, order: Order, now: int) -> bool:
    """Whether to come again: not when what is due waits for its digest."""
    return flag == BURST_CHANGED or (flag != 0 and order.look_again <= now)


def _burst_arguments(step: burst.Step | None) -> tuple[scripts.RunArgument, ...]:
    if step is None:
        return ("-", "", "", "", "")
    after = step.after
    version = int(after.version or 0) + 1
    return (after.version, version, ",".join(map(str, after.times)), after.digest_at, after.last_digest)


def _delivery(store: Store, order: Order, number: int, fields: list[str | None], claimed: int) -> Delivery:
    target = order.want.target
    event, type_, payload, at, created, attempt, epoch, incident, meta, due = fields
    return Delivery(
        target,
        number,
        public_id(store, target, number),
        event or "",
        type_ or "",
        payload or "",
        int(at or 0),
        int(float(created or 0)),
        int(attempt or 0),
        int(epoch or 0),
        incident or "",
        meta or "",
        int(float(due or 0)),
        claimed=claimed,
        digest=order.digest,
    )


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a claim: `verdict` by `retry.decide`, or `release` / `reclaim` to put it back.

    `counts` is false for all but one member of a digest: the circuit counts messages. `unheard`: it may have been sent,
    and nobody heard what came of it.
    """

    delivery: Delivery
    worker: str
    verdict: Literal["success", "retry", "dead", "release", "reclaim"]
    delay_ms: int = 0
    hold_ms: int = 0
    outcome: retry.Outcome = field(default_factory=retry.Outcome)
    at: int = 0
    duration_ms: int = 0
    counts: bool = True
    unheard: bool = False


@dataclass(frozen=True, slots=True)
class Recorded:
    """Whether the result was taken (a stale claim's is refused), and the target's state after it.

    `now` is Redis time in ms, `failing_since` likewise or None after a success, `kept` its successes in the ledger.
    """

    accepted: bool
    now: int
    failing_since: int | None
    consecutive: int
    kept: int


async def record(store: Store, results: Sequence[Result], *, now: int | None = None) -> list[Recorded]:
    """Records results of claims on targets of one kind in one shard, in as few script calls as 2 ms each allow.

    The end of a delivery and its `delivery.dead_letter` event are one step (`shared.dead_letters`).
    """
    answers: list[Recorded] = []
    for start in range(0, len(results), RECORDS_PER_CALL):
        answers += await _record(store, results[start : start + RECORDS_PER_CALL], now)
    return answers


async def _record(store: Store, results: Sequence[Result], now: int | None) -> list[Recorded]:
    first = results[0].delivery.target
    shard, kind = store.shard_of(first), keys.kind_of(first)
    positions = {target: i for i, target in enumerate(dict.fromkeys(r.delivery.target for r in results), 1)}
    names = [keys.due(shard, kind), keys.sending(shard, kind), keys.events(shard)]
    for target in positions:
        names += [keys.of_target(shard, name, target) for name in RECORDED]
    arguments: list[scripts.RunArgument] = ["" if now is None else now, len(positions), *positions]
    for result in results:
        delivery, outcome = result.delivery, result.outcome
        names.append(keys.delivery(shard, delivery.target, delivery.number))
        arguments += (positions[delivery.target], delivery.number, result.worker, delivery.epoch)
        arguments += (result.verdict, result.delay_ms, result.hold_ms, "1" if result.counts else "")
        arguments += (delivery.attempt + 1, _attempt_json(result))
        arguments += ("" if outcome.status is None else outcome.status, outcome.body[:BODY_LIMIT])
        arguments += (outcome.error[:BODY_LIMIT], _told(result), "1" if result.unheard else "")
    at, *rest = await scripts.run(store.redis, "delivery_record", names, arguments)
    accepted, states = rest[: len(results)], rest[len(results) :]
    return [
        _recorded(int(at), ok, states[positions[result.delivery.target] - 1])
        for result, ok in zip(results, accepted, strict=True)
    ]


def _recorded(now: int, accepted: int, state: list[Any]) -> Recorded:
    since = int(state[0]) if state[0] else None
    return Recorded(accepted == 1, now, since, int(state[1]), int(state[2]))


def _told(result: Result) -> str:
    """The payload of the event that the script emits with this result; "" for none."""
    return dead_letters.payload(result.delivery, result.outcome) if result.verdict == "dead" else ""


def _attempt_json(result: Result) -> str:
    outcome = result.outcome
    if result.verdict in ("release", "reclaim"):
        return ""
    return json.dumps(
        {
            "at": result.at,
            "duration_ms": result.duration_ms,
            "status": outcome.status,
            "body": outcome.body[:BODY_IN_ATTEMPT],
            "error": outcome.error[:BODY_LIMIT],
        }
    )

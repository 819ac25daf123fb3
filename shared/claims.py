"""The worker's side of the delivery ledger: claim, record, give back, reclaim.

A claim is made in the name of a worker whose key `worker:<id>` lives 6 s. Its epoch is the fence: once a delivery was
given back or reclaimed, its old holder's result is refused. Attempts are numbered when they are recorded, so a worker
that vanishes consumes none; but a delivery whose claims vanished 5 times in a row counts a failed attempt, so that
one that kills its workers comes to an end.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from shared import burst, dead_letters, keys, retry, scripts
from shared.burst import Burst
from shared.connection import Store
from shared.deliveries import Delivery, public_id

IN_FLIGHT: Final = 20
"""Claims per target at any time, over all workers."""
UNCAPPED: Final = -1
TARGETS_PER_CALL: Final = 64
CLAIMS_PER_CALL: Final = 48
"""Keeps a claim below 2 ms; also the members of a digest that are claimed at once."""
FULL: Final = 2
BURST_CHANGED: Final = -1
RECORDS_PER_CALL: Final = 32
"""Keeps a record below 2 ms."""
BODY_LIMIT: Final = 1_000
BODY_IN_ATTEMPT: Final = 200
"""Earlier answers are kept shorter: eight of them in full would be most of a dead letter's memory."""


@dataclass(frozen=True, slots=True)
class Want:
    """What a worker asks for one target: at most `limit` messages; `digest` for channels, see `shared.burst`."""

    target: str
    limit: int = IN_FLIGHT
    digest: bool = False


@dataclass(frozen=True, slots=True)
class Claimed:
    """What a worker got. `as_digest`: `deliveries` are the first members of a digest of all that was due at `until`.

    `more` says that deliveries are due that were not claimed, `full` that no place was free for them.
    """

    deliveries: list[Delivery]
    more: bool = False
    full: bool = False
    as_digest: bool = False
    until: int = 0


@dataclass(frozen=True, slots=True)
class Peek:
    """What one target has due at `now` and what decides how much of it may be claimed."""

    now: int
    due: int
    places: int
    burst: Burst
    numbers: list[str]


async def claim(store: Store, worker: str, wants: Sequence[Want], *, now: int | None = None) -> list[Claimed]:
    """Claims what is due for targets of one kind in one shard, in two script calls; the answers keep the order.

    1. Peek: which numbers are due, how many places are free, the burst counters.
    2. Decide (pure): singles, a digest or a wait.
    3. Claim: compare-and-set in the name of `worker`; what another worker took meanwhile is left out.
    """
    peeks = await peek(store, wants, now=now)
    orders = [_order(want, seen) for want, seen in zip(wants, peeks, strict=True)]
    claimed: list[Claimed] = []
    for part in _calls(orders):
        claimed += await _claim(store, worker, part, now)
    return claimed


async def claim_members(
    store: Store, worker: str, target: str, until: int, *, now: int | None = None
) -> list[Delivery]:
    """Claims more members of a digest begun at `until` (ms); empty when it is complete.

    They come without payload: `meta` is there for what a digest says of its members.
    """
    seen = (await peek(store, [Want(target, CLAIMS_PER_CALL)], now=until))[0]
    order = _Order(Want(target), seen.numbers, cap=UNCAPPED)
    (claimed,) = await _claim(store, worker, [order], now, brief=True)
    return claimed.deliveries


async def peek(store: Store, wants: Sequence[Want], *, now: int | None = None) -> list[Peek]:
    """What is due for each target; changes nothing."""
    shard = store.shard_of(wants[0].target)
    names: list[str] = []
    arguments: list[scripts.RunArgument] = ["" if now is None else now, IN_FLIGHT]
    for want in wants:
        names += [keys.of_target(shard, n, want.target) for n in ("queue", "inflight", "target", "burst")]
        arguments += (CLAIMS_PER_CALL if want.digest else want.limit, "1" if want.digest else "")
    at, *rows = await scripts.run(store.redis, "delivery_peek", names, arguments)
    return [_peek(int(at), row) for row in rows]


def _peek(now: int, row: list[Any]) -> Peek:
    times = tuple(int(t) for t in row[3].split(",")) if row[3] else ()
    counters = Burst(row[2], times, int(row[4] or 0), int(row[5] or 0))
    return Peek(now, int(row[0]), int(row[1]), counters, row[6:])


@dataclass(frozen=True, slots=True)
class _Order:
    """What the claim script is asked for one target."""

    want: Want
    numbers: list[str]
    cap: int = IN_FLIGHT
    look_again: int = 0
    step: burst.Step | None = None
    until: int = 0


def _order(want: Want, seen: Peek) -> _Order:
    if not want.digest:
        return _Order(want, seen.numbers[: min(want.limit, seen.places)])
    step = burst.decide(seen.burst, seen.due, min(seen.places, want.limit), seen.now)
    if step.digest:
        return _Order(want, seen.numbers, UNCAPPED, 0, step, seen.now)
    return _Order(want, seen.numbers[: step.singles], IN_FLIGHT, step.wait_until, step)


def _calls(orders: Sequence[_Order]) -> Iterator[Sequence[_Order]]:
    """The orders split so that no script call claims more than its share of deliveries."""
    start, total = 0, 0
    for index, order in enumerate(orders):
        if total and total + len(order.numbers) > CLAIMS_PER_CALL:
            yield orders[start:index]
            start, total = index, 0
        total += len(order.numbers)
    yield orders[start:]


async def _claim(
    store: Store, worker: str, orders: Sequence[_Order], now: int | None, *, brief: bool = False
) -> list[Claimed]:
    shard, kind = store.shard_of(orders[0].want.target), keys.kind_of(orders[0].want.target)
    names = [keys.due(shard, kind), keys.sending(shard, kind)]
    arguments: list[scripts.RunArgument] = [
        "" if now is None else now,
        worker,
        "1" if brief else "",
        len(orders),
    ]
    numbers: list[str] = []
    owners: list[int] = []
    for index, order in enumerate(orders):
        target = order.want.target
        names += [keys.of_target(shard, n, target) for n in ("queue", "inflight", "target", "burst")]
        arguments += (target, order.cap, len(order.numbers), order.look_again, *_burst_arguments(order.step))
        numbers += order.numbers
        owners += [index] * len(order.numbers)
    names += [
        keys.delivery(shard, orders[owner].want.target, number)
        for owner, number in zip(owners, numbers, strict=True)
    ]
    at, *rest = await scripts.run(store.redis, "delivery_claim", names, [*arguments, *numbers])
    flags, rows = rest[: len(orders)], rest[len(orders) :]
    got: list[list[Delivery]] = [[] for _ in orders]
    for index, *fields in rows:
        owner = owners[index - 1]
        number = int(numbers[index - 1])
        got[owner].append(_delivery(store, orders[owner].want.target, number, fields, int(at)))
    return [
        Claimed(
            items, _more(flag, order, int(at)), flag == FULL, order.until > 0 and bool(items), order.until
        )
        for order, items, flag in zip(orders, got, flags, strict=True)
    ]


def _more(flag: int, order: _Order, now: int) -> bool:
    """Whether to come again: not when what is due waits for its digest."""
    return flag == BURST_CHANGED or (flag != 0 and order.look_again <= now)


def _burst_arguments(step: burst.Step | None) -> tuple[scripts.RunArgument, ...]:
    if step is None:
        return ("-", "", "", "", "")
    after = step.after
    version = int(after.version or 0) + 1
    return (after.version, version, ",".join(map(str, after.times)), after.digest_at, after.last_digest)


def _delivery(store: Store, target: str, number: int, fields: list[str | None], claimed: int) -> Delivery:
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
    )


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a claim: `verdict` by `retry.decide`, or `release` / `reclaim` to put it back.

    `counts` is false for all but one member of a digest: the circuit counts messages.
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
        sets = ("queue", "inflight", "target", "pending", "done", "dead")
        names += [keys.of_target(shard, name, target) for name in sets]
    arguments: list[scripts.RunArgument] = ["" if now is None else now, len(positions), *positions]
    for result in results:
        delivery, outcome = result.delivery, result.outcome
        names.append(keys.delivery(shard, delivery.target, delivery.number))
        arguments += (positions[delivery.target], delivery.number, result.worker, delivery.epoch)
        arguments += (result.verdict, result.delay_ms, result.hold_ms, "1" if result.counts else "")
        arguments += (delivery.attempt + 1, _attempt_json(result))
        arguments += ("" if outcome.status is None else outcome.status, outcome.body[:BODY_LIMIT])
        arguments += (outcome.error[:BODY_LIMIT], _told(result))
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

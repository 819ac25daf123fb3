"""What a worker may claim of what a target has due: decided here, checked again by the script that claims; pure.

A *message* is what is sent at once under one id: a delivery alone, or a digest of a channel's many. Until it is sent
nothing decides which deliveries share a message. Once a worker that vanished may have sent it, its deliveries are
*bound*: they are only sent again as they were, alone or with the same digest, or a receiver that knows ids would take
the repetition for news, or news for a repetition.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from shared import burst
from shared.burst import Burst

IN_FLIGHT: Final = 20
"""Claims per target at any time, over all workers."""
UNCAPPED: Final = -1
CLAIMS_PER_CALL: Final = 48
"""Keeps a claim below 2 ms."""
MEMBERS_PER_CALL: Final = 24
"""Members of a digest claimed at once: below 1 ms, for a hundred thousand are claimed call after call."""

FREE: Final = -1
"""The mark of a delivery that no message has yet."""
ALONE: Final = 0
"""The mark of a delivery that is a message of its own; a digest's mark is its name, the ms at which it was claimed."""
WAITING: Final = -2
"""The mark of a digest's member while others of the digest are still claimed by the worker that vanished."""
WAIT_MS: Final = 500
"""Until a look at a target of which all that is due waits so; taking the others back looks at once."""


@dataclass(frozen=True, slots=True)
class Want:
    """What a worker asks for one target: at most `limit` messages; `digest` for channels, see `shared.burst`."""

    target: str
    limit: int = IN_FLIGHT
    digest: bool = False


@dataclass(frozen=True, slots=True)
class Peek:
    """What one target has due at `now` and what decides how much of it may be claimed.

    `numbers` are the oldest that are due, `marks` the message of each, empty when none is bound; `due` counts the free.
    """

    now: int
    due: int
    places: int
    burst: Burst
    numbers: Sequence[str]
    marks: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class Order:
    """What the claim script is asked for one target: `numbers` that still bear `mark`, for `digest` (0: no digest)."""

    want: Want
    numbers: Sequence[str]
    cap: int = IN_FLIGHT
    look_again: int = 0
    step: burst.Step | None = None
    mark: int = FREE
    digest: int = 0


def order(want: Want, seen: Peek) -> Order:
    """What to claim: first what is bound, then singles or a digest as `shared.burst` decides, or nothing yet."""
    if not want.digest:
        return Order(want, seen.numbers[: min(want.limit, seen.places)])
    places = min(seen.places, want.limit)
    marks = seen.marks or [FREE] * len(seen.numbers)
    bound = min((mark for mark in marks if mark >= ALONE), default=FREE)
    if bound != FREE and places:
        numbers = [number for number, mark in zip(seen.numbers, marks, strict=True) if mark == bound]
        if bound == ALONE:
            step = burst.repeat(seen.burst, len(numbers[:places]), seen.now)
            return Order(want, numbers[:places], step=step, mark=ALONE)
        return Order(
            want, numbers[:MEMBERS_PER_CALL], UNCAPPED, 0, burst.repeat(seen.burst, 1, seen.now), bound, bound
        )
    free = [number for number, mark in zip(seen.numbers, marks, strict=True) if mark == FREE]
    if WAITING in marks and not free:
        return Order(want, [], look_again=seen.now + WAIT_MS)
    step = burst.decide(seen.burst, seen.due, places, seen.now)
    if step.digest:
        return Order(want, free, UNCAPPED, 0, step, FREE, seen.now)
    return Order(want, free[: step.singles], IN_FLIGHT, step.wait_until, step)


def calls(orders: Sequence[Order]) -> Iterator[Sequence[Order]]:
    """The orders split so that no script call claims more than its share of deliveries."""
    start, total = 0, 0
    for index, one in enumerate(orders):
        if total and total + len(one.numbers) > CLAIMS_PER_CALL:
            yield orders[start:index]
            start, total = index, 0
        total += len(one.numbers)
    yield orders[start:]

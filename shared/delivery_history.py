"""What the delivery ledger shows: single deliveries, lists of them, and their targets' counters."""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from shared import keys
from shared.connection import Store
from shared.deliveries import Attempt, Delivery, Status, public_id
from shared.delivery_upkeep import forget_expired
from shared.errors import NotFound

STEP: Final = 200
"""Deliveries read per round trip of a walk."""
SETS: Final[Mapping[Status, str]] = {"pending": "pending", "success": "done", "failed": "dead"}
SHOWN: Final = (
    *("event", "type", "payload", "at", "created", "attempt", "epoch", "incident", "meta", "next", "status"),
    *("worker", "response_status", "response_body", "error", "finished", "redelivery_of", "redelivered_as"),
)


@dataclass(frozen=True, slots=True)
class Page:
    """Deliveries newest first, and how many there are in all."""

    items: list[Delivery]
    total: int


@dataclass(frozen=True, slots=True)
class TargetStats:
    """A target's counters; those of final states survive retention. Times in ms, None for never.

    `gone`: it answered 410 and has not succeeded or been enabled since.
    """

    pending: int
    success_count: int
    failure_count: int
    last_triggered: int | None
    failing_since: int | None
    consecutive: int
    hold: int | None
    disabled: int | None
    gone: int | None = None


async def get(store: Store, target: str, number: int) -> Delivery:
    """One delivery with its attempts. Raises NotFound."""
    key = keys.delivery(store.shard_of(target), target, number)
    fields: dict[str, str] = await store.redis.hgetall(key)  # type: ignore[misc]
    if not fields.get("event"):
        raise NotFound("There is no such delivery.")
    return _read(store, target, number, fields)


async def listing(
    store: Store, target: str, *, status: Status | None = None, limit: int = 50, offset: int = 0
) -> Page:
    """A target's deliveries, newest first, without their attempts."""
    shard = store.shard_of(target)
    names = [SETS[status]] if status else list(SETS.values())
    await forget_expired(store, target)
    pipe = store.redis.pipeline(transaction=False)
    for name in names:
        key = keys.of_target(shard, name, target)
        pipe.zcard(key)
        pipe.zrange(key, 0, offset + limit - 1, desc=True)
    answers = await pipe.execute()
    numbers = sorted((int(n) for found in answers[1::2] for n in found), reverse=True)
    items = await read_many(store, target, numbers[offset : offset + limit])
    return Page(items, sum(answers[0::2]))


async def walk(store: Store, target: str, status: Status, *, since: int = 0) -> AsyncIterator[list[Delivery]]:
    """All deliveries in a state that were created at or after `since` (ms), in steps, newest first."""
    key = keys.of_target(store.shard_of(target), SETS[status], target)
    below = "+inf"
    while numbers := await store.redis.zrevrangebyscore(key, below, "-inf", start=0, num=STEP):
        found = await read_many(store, target, [int(n) for n in numbers])
        wanted = [item for item in found if item.created >= since]
        if wanted:
            yield wanted
        if len(wanted) < len(found):
            return
        below = f"({numbers[-1]}"


async def read_many(store: Store, target: str, numbers: Sequence[int]) -> list[Delivery]:
    """Deliveries by their numbers; one that has expired meanwhile is left out."""
    shard = store.shard_of(target)
    pipe = store.redis.pipeline(transaction=False)
    for number in numbers:
        pipe.hmget(keys.delivery(shard, target, number), list(SHOWN))
    rows = [dict(zip(SHOWN, row, strict=True)) for row in await pipe.execute()]
    return [_read(store, target, n, row) for n, row in zip(numbers, rows, strict=True) if row["event"]]


async def of_incident(store: Store, incident: str, *, limit: int = 500) -> list[Delivery]:
    """The deliveries about an incident to whatever target, with their attempts; the newest of each shard."""
    pipe = store.redis.pipeline(transaction=False)
    for shard in range(store.shards):
        pipe.smembers(keys.told(shard, incident))
    named = [entry.rpartition(" ") for members in await pipe.execute() for entry in members]
    wanted = sorted(((target, int(n)) for target, _, n in named), key=lambda one: one[1])[-limit:]
    for target, number in wanted:
        pipe.hgetall(keys.delivery(store.shard_of(target), target, number))
    rows = await pipe.execute()
    return [_read(store, *one, row) for one, row in zip(wanted, rows, strict=True) if row.get("event")]


def _read(store: Store, target: str, number: int, fields: Mapping[str, str | None]) -> Delivery:
    def text(name: str) -> str:
        return fields.get(name) or ""

    def integer(name: str) -> int | None:
        return int(float(fields.get(name) or 0)) if fields.get(name) else None

    attempts: list[Attempt] = []
    while raw := fields.get(f"attempt:{len(attempts) + 1}"):
        attempts.append(Attempt(len(attempts) + 1, **json.loads(raw)))
    return Delivery(
        target=target,
        number=number,
        id=public_id(store, target, number),
        event=text("event"),
        type=text("type"),
        payload=text("payload"),
        at=integer("at") or 0,
        created=integer("created") or 0,
        attempt=integer("attempt") or 0,
        epoch=integer("epoch") or 0,
        incident=text("incident"),
        meta=text("meta"),
        next=integer("next") or 0,
        status=fields["status"],  # type: ignore[arg-type]
        worker=text("worker"),
        response_status=integer("response_status"),
        response_body=text("response_body"),
        error=text("error"),
        finished=integer("finished"),
        redelivery_of=integer("redelivery_of"),
        redelivered_as=integer("redelivered_as"),
        attempts=tuple(attempts),
    )


async def stats(store: Store, targets: Sequence[str]) -> list[TargetStats]:
    """The counters of each target, in the same order, in one round trip."""
    pipe = store.redis.pipeline(transaction=False)
    for target in targets:
        shard = store.shard_of(target)
        pipe.zcard(keys.of_target(shard, "pending", target))
        pipe.hgetall(keys.of_target(shard, "target", target))
    answers: list[Any] = await pipe.execute()
    return [_stats(*answers[i : i + 2]) for i in range(0, len(answers), 2)]


def _stats(pending: int, fields: Mapping[str, str]) -> TargetStats:
    def at(name: str) -> int | None:
        return int(fields[name]) if name in fields else None

    return TargetStats(
        pending=pending,
        success_count=int(fields.get("success_count", 0)),
        failure_count=int(fields.get("failure_count", 0)),
        last_triggered=at("last_triggered"),
        failing_since=at("failing_since"),
        consecutive=int(fields.get("consecutive", 0)),
        hold=at("hold"),
        disabled=at("disabled"),
        gone=at("gone"),
    )

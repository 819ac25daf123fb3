"""The delivery ledger: one event for one channel or webhook, from creation to its end.

    pending ──claim──▶ sending ──record──▶ success
       ▲                  │ ├──────────────▶ failed (a dead letter)
       └── retry, release ┘ worker vanished: reclaimed

A *target* is `channel:<id>` or `webhook:<id>`. Deliveries are numbered per shard; `public_id` makes the number clients
see. This module asks for deliveries, `shared.delivery_history` shows them, `shared.claims` works them off and
`shared.delivery_upkeep` forgets them.
Times are ms of Redis TIME; `now` overrides it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from shared import keys, scripts
from shared.connection import Store
from shared.errors import Conflict

CREATE_BATCH: Final = 20
"""Deliveries per script call: below 1 ms."""
Status = Literal["pending", "success", "failed"]


@dataclass(frozen=True, slots=True)
class NewDelivery:
    """What to deliver. `event` is the event's id, `payload` the text to send, `at` the event's time in ms.

    `meta` is JSON for the sender, such as what a digest needs without parsing payloads. `fresh` delivers although the
    target has this event already; `redelivery_of` is the number of the delivery that it repeats.
    """

    target: str
    event: str
    type: str
    payload: str
    at: int
    incident: str = ""
    meta: str = ""
    delay_ms: int = 0
    fresh: bool = False
    redelivery_of: int | None = None


@dataclass(frozen=True, slots=True)
class Attempt:
    """One recorded try: when it ended (ms), how long it took, and the beginning of the answer."""

    number: int
    at: int
    duration_ms: int
    status: int | None
    body: str
    error: str


@dataclass(frozen=True, slots=True)
class Delivery:
    """One delivery. `attempt` counts recorded attempts; `epoch` is the fence of its claim.

    A claimed one carries what sending needs: what came of earlier attempts is only read for showing it. `next` is when
    a pending one is due, `claimed` when this attempt began, `digest` the digest that it is claimed for (0: none).
    """

    target: str
    number: int
    id: int
    event: str
    type: str
    payload: str
    at: int
    created: int
    attempt: int
    epoch: int
    incident: str
    meta: str
    next: int
    status: Literal["pending", "sending", "success", "failed"] = "sending"
    worker: str = ""
    response_status: int | None = None
    response_body: str = ""
    error: str = ""
    finished: int | None = None
    redelivery_of: int | None = None
    redelivered_as: int | None = None
    attempts: tuple[Attempt, ...] = ()
    claimed: int = 0
    digest: int = 0

    @property
    def shown(self) -> Status:
        """The status that clients see: a claim is still pending."""
        return "pending" if self.status == "sending" else self.status


def public_id(store: Store, target: str, number: int) -> int:
    """The integer by which clients know a delivery; unique across shards."""
    return number * store.shards + store.shard_of(target) if store.shards > 1 else number


def number_of(store: Store, delivery_id: int) -> int:
    """The number within its shard of a delivery by its public id."""
    return delivery_id // store.shards if store.shards > 1 else delivery_id


async def create(store: Store, items: Sequence[NewDelivery], *, now: int | None = None) -> list[int | None]:
    """Creates deliveries; per item its public id, or None when the target has the event already.

    Idempotent by event and target, so that a stream entry may be handled twice. Raises redis-py's errors; what was
    created before one stays, and the same call again completes the rest.
    """
    groups: dict[tuple[int, str], list[int]] = {}
    for index, item in enumerate(items):
        groups.setdefault((store.shard_of(item.target), keys.kind_of(item.target)), []).append(index)
    results: list[int | None] = [None] * len(items)
    for (shard, kind), indexes in groups.items():
        # Numbers are drawn first, so that the script's keys are known; unused ones leave gaps.
        last = await store.redis.incrby(keys.sequence(shard), len(indexes))
        numbers = range(last - len(indexes) + 1, last + 1)
        for start in range(0, len(indexes), CREATE_BATCH):
            part = slice(start, start + CREATE_BATCH)
            made = await _create(store, shard, kind, [items[i] for i in indexes[part]], numbers[part], now)
            for index, number in zip(indexes[part], made, strict=True):
                if number is not None:
                    results[index] = public_id(store, items[index].target, number)
    return results


async def _create(
    store: Store, shard: int, kind: str, items: Sequence[NewDelivery], numbers: Sequence[int], now: int | None
) -> list[int | None]:
    """One script call: per item its number, or None when the target has the event already."""
    positions = {target: i for i, target in enumerate(dict.fromkeys(item.target for item in items), 1)}
    key_names = [keys.due(shard, kind)]
    for target in positions:
        key_names += [keys.of_target(shard, name, target) for name in ("queue", "pending", "seen", "target")]
    arguments: list[scripts.RunArgument] = ["" if now is None else now, len(positions), *positions]
    for number, item in zip(numbers, items, strict=True):
        key_names += [keys.delivery(shard, item.target, number), keys.told(shard, item.incident)]
        arguments += (positions[item.target], number, item.event, item.type, item.payload, item.at)
        arguments += (item.incident, item.meta, item.delay_ms, "1" if item.fresh else "")
        arguments.append("" if item.redelivery_of is None else item.redelivery_of)
    answers = await scripts.run(store.redis, "delivery_create", key_names, arguments)
    return [number if answer else None for number, answer in zip(numbers, answers, strict=True)]


async def redeliver(store: Store, finished: Sequence[Delivery], *, now: int | None = None) -> list[int]:
    """Repeats finished deliveries as new ones of the same event; returns their public ids.

    The old ones stay as they ended and name their successor. Raises Conflict, before anything is made, when one is
    still pending.
    """
    for old in finished:
        if old.shown == "pending":
            raise Conflict(f"Delivery {old.id} is still pending: wait for its attempts to end.")
    items = [
        NewDelivery(
            *(old.target, old.event, old.type, old.payload, old.at, old.incident, old.meta),
            fresh=True,
            redelivery_of=old.number,
        )
        for old in finished
    ]
    made = await create(store, items, now=now)
    pipe = store.redis.pipeline(transaction=False)
    for old, new in zip(finished, made, strict=True):
        if new is not None:
            key = keys.delivery(store.shard_of(old.target), old.target, old.number)
            pipe.hset(key, "redelivered_as", str(number_of(store, new)))
    await pipe.execute()
    return [new for new in made if new is not None]


async def enable(store: Store, target: str, *, now: int | None = None) -> None:
    """Lets a disabled target's pending deliveries go on; its failures in a row are forgotten."""
    await _switch(store, target, "1", now)


async def disable(store: Store, target: str, *, now: int | None = None) -> None:
    """Keeps a target's deliveries from being claimed; pending ones stay pending. Claims under way may end."""
    await _switch(store, target, "0", now)


async def _switch(store: Store, target: str, enabled: str, now: int | None) -> None:
    shard = store.shard_of(target)
    names = [keys.due(shard, keys.kind_of(target))]
    names += [keys.of_target(shard, name, target) for name in ("queue", "target")]
    await scripts.run(store.redis, "delivery_switch", names, ["" if now is None else now, target, enabled])

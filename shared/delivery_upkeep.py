"""What keeps the delivery ledger small: retention, and the end of a target."""

from typing import Final

from shared import keys
from shared.connection import Store

STEP: Final = 50
"""Deliveries dropped per round trip: a transaction of about 1 ms; 200 took up to 6."""
KEPT_SUCCESSES: Final = 1_000
TOMBSTONE_MS: Final = 24 * 3600 * 1000
"""A deleted target refuses deliveries this long: a dispatcher with an old configuration must not bring it back."""


async def trim(store: Store, target: str, *, keep: int = KEPT_SUCCESSES) -> int:
    """Drops successes beyond the newest `keep`, in bounded steps; returns how many.

    Age needs no work: a finished delivery's hash and an idle set expire after 30 days by themselves.
    """
    key = keys.of_target(store.shard_of(target), "done", target)
    dropped = 0
    while True:
        pipe = store.redis.pipeline(transaction=True)
        pipe.zcard(key)
        pipe.zrange(key, 0, STEP - 1)
        count, oldest = await pipe.execute()
        if count <= keep:
            return dropped
        numbers = oldest[: count - keep]
        await _drop(store, target, "done", numbers)
        dropped += len(numbers)


async def forget_expired(store: Store, target: str) -> None:
    """Takes out of the sets what has expired: finished deliveries older than 30 days."""
    shard = store.shard_of(target)
    for name in ("done", "dead"):
        key = keys.of_target(shard, name, target)
        while numbers := await store.redis.zrange(key, 0, STEP - 1):
            if await store.redis.exists(keys.delivery(shard, target, numbers[0])):
                break
            pipe = store.redis.pipeline(transaction=False)
            for number in numbers:
                pipe.exists(keys.delivery(shard, target, number))
            there = await pipe.execute()
            gone = [number for number, found in zip(numbers, there, strict=True) if not found]
            await store.redis.zrem(key, *gone)


async def _drop(store: Store, target: str, name: str, numbers: list[str]) -> None:
    shard = store.shard_of(target)
    pipe = store.redis.pipeline(transaction=True)
    pipe.zrem(keys.of_target(shard, name, target), *numbers)
    pipe.unlink(*[keys.delivery(shard, target, number) for number in numbers])
    await pipe.execute()


async def delete_target(store: Store, target: str) -> int:
    """Deletes everything of a target; returns how many deliveries that were.

    1. A tombstone refuses new deliveries and claims for a day; results of claims under way find nothing to record.
    2. Deliveries go in bounded steps, then the target's own keys.
    Bears being interrupted and run again.
    """
    shard, kind = store.shard_of(target), keys.kind_of(target)
    tombstone = keys.of_target(shard, "target", target)
    pipe = store.redis.pipeline(transaction=True)
    pipe.delete(tombstone)
    pipe.hset(tombstone, mapping={"deleted": "1", "disabled": "1"})
    pipe.pexpire(tombstone, TOMBSTONE_MS)
    pipe.zrem(keys.due(shard, kind), target)
    await pipe.execute()
    dropped = 0
    for name in ("pending", "done", "dead"):
        key = keys.of_target(shard, name, target)
        while numbers := await store.redis.zrange(key, 0, STEP - 1):
            await _drop(store, target, name, numbers)
            dropped += len(numbers)
    names = ("queue", "inflight", "seen", "burst", "repeats", "digests")
    await store.redis.unlink(*[keys.of_target(shard, name, target) for name in names])
    await store.redis.zrem(keys.sending(shard, kind), target)
    await store.redis.zrem(keys.due(shard, kind), target)
    return dropped

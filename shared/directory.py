"""The token directory: from a token's hash to the monitor that has it.

Entries share hashes of 16,384 buckets, which cost a quarter of a key each. An entry is a hint, the truth is the hash
in the monitor: one that a process left behind when it died leads nowhere, and is taken over by who needs its place.
"""

import contextlib
from collections.abc import AsyncIterator

from redis.exceptions import RedisError

from shared import keys, scripts
from shared.connection import UNAVAILABLE, Store
from shared.errors import Conflict

RESERVED_MS = 60_000
"""Far longer than writing a monitor takes, so that only a process that died leaves a token reserved."""


async def find(store: Store, token_hash: str) -> str | None:
    """The id of the monitor that has this token now, or None."""
    key, entry = keys.tokens(store.shards, token_hash)
    monitor_id: str | None = await store.redis.hget(key, entry)  # type: ignore[misc]
    if monitor_id is None or await _token_of(store, monitor_id) != token_hash:
        return None
    return monitor_id


async def point(store: Store, token_hash: str, monitor_id: str) -> None:
    """Points a token at a monitor, whomever it was pointed at before."""
    key, entry = keys.tokens(store.shards, token_hash)
    await store.redis.hset(key, entry, monitor_id)  # type: ignore[misc]


async def release(store: Store, token_hash: str, monitor_id: str) -> None:
    """Removes a token that this monitor had, unless another monitor has it by now."""
    key, entry = keys.tokens(store.shards, token_hash)
    await scripts.run(store.redis, "release_token", [key], [entry, monitor_id])


@contextlib.asynccontextmanager
async def reserved(store: Store, token_hash: str, monitor_id: str) -> AsyncIterator[None]:
    """Points the token at the monitor, which the body then writes; Conflict when another has it or is about to."""
    lock = keys.reserving(store.shard_of(token_hash), token_hash)
    if (
        not await store.redis.set(lock, monitor_id, nx=True, px=RESERVED_MS)
        and await store.redis.get(lock) != monitor_id
    ):
        raise Conflict("another monitor is being given this token; choose another, or try again in a minute")
    try:
        if await _has_holder(store, token_hash):
            raise Conflict("another monitor has this token; choose another or leave it out to get a new one")
        await point(store, token_hash, monitor_id)
        yield
    finally:
        with contextlib.suppress(RedisError, *UNAVAILABLE):
            await store.redis.delete(lock)


async def _has_holder(store: Store, token_hash: str) -> bool:
    """Whether the token's entry is in use, be it by another token with the same 96 bits."""
    key, entry = keys.tokens(store.shards, token_hash)
    holder: str | None = await store.redis.hget(key, entry)  # type: ignore[misc]
    return holder is not None and (await _token_of(store, holder) or "").startswith(entry)


async def _token_of(store: Store, monitor_id: str) -> str | None:
    key = keys.monitor(store.shard_of(monitor_id), monitor_id)
    token_hash: str | None = await store.redis.hget(key, "token")  # type: ignore[misc]
    return token_hash

"""The steps from one version of the data to the next; see `shared.schema`."""

from collections.abc import Sequence

from shared import keys, monitors
from shared.connection import Store
from shared.model import made_at


async def shrink_monitors(store: Store) -> None:
    """1 → 2: tokens move from keys of their own into buckets, and a monitor keeps no field that says nothing."""
    async for ids in monitors.id_pages(store):
        await _shrink(store, ids)


async def _shrink(store: Store, ids: Sequence[str]) -> None:
    names = [keys.monitor(store.shard_of(monitor_id), monitor_id) for monitor_id in ids]
    async with store.redis.pipeline(transaction=False) as pipe:
        for name in names:
            pipe.hmget(name, ["token", "created", "incident"])
        answers: list[list[str | None]] = await pipe.execute()
        for monitor_id, name, (token_hash, created, incident) in zip(ids, names, answers, strict=True):
            if token_hash:
                bucket, entry = keys.tokens(store.shards, token_hash)
                pipe.hset(bucket, entry, monitor_id)
                pipe.unlink(f"mp:{{{store.shard_of(token_hash)}}}:token:{token_hash}")
            if created and abs(int(created) - made_at(monitor_id)) <= 1_000:
                pipe.hdel(name, "created")
            if incident == "":
                pipe.hdel(name, "incident")
        await pipe.execute()


async def unlist_open_incidents(store: Store) -> None:
    """2 → 3: `incidents` lists those that are over. A status may be a note, which an older MishPulse misreads."""
    for shard in range(store.shards):
        over, still_open = keys.incidents(shard), keys.open_incidents(shard)
        await store.redis.zdiffstore(over, [over, still_open])

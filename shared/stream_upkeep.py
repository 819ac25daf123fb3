"""What keeps the event stream bounded, and its numbers."""

from typing import Final

import structlog

from shared import keys, metrics, scripts
from shared.connection import Store

DAY_MS: Final = 24 * 3600 * 1000
KEEP_MS: Final = 7 * DAY_MS
KEEP_ENTRIES: Final = 1_000_000
STEP: Final = 2_000
"""Entries dropped per script call: about 1 ms."""
CONSUMER_GONE_MS: Final = 3_600_000
"""A consumer that reads blocks for 2 s at most; one idle for an hour is a process that ended."""

log = structlog.get_logger(__name__)


async def trim(
    store: Store,
    shard: int,
    *,
    keep_ms: int = KEEP_MS,
    keep_entries: int = KEEP_ENTRIES,
    drop_after_ms: int = KEEP_MS,
) -> int:
    """Drops entries beyond 7 days or the newest 1,000,000, in bounded steps; returns how many.

    Never passes an entry that a group has not read or not acknowledged; but a group that holds back entries older than
    7 days and has read nothing for as long is dropped, loudly, instead of letting it fill Redis. It heals itself when
    it comes back. Redis drops whole nodes of up to 100 entries, so a little more is kept.
    """
    total: int = 0
    while True:
        dropped, *groups = await scripts.run(
            store.redis,
            "stream_trim",
            [keys.events(shard)],
            [keep_ms, keep_entries, STEP, drop_after_ms],
        )
        for group in groups:
            log.error("stream.group_dropped", group=group, shard=shard, idle_days=drop_after_ms / DAY_MS)
            metrics.GROUPS_DROPPED.inc()
        total += int(dropped)
        if not dropped:
            return total


async def tidy(store: Store, shard: int, group: str, *, idle_ms: int = CONSUMER_GONE_MS) -> int:
    """Removes a group's consumers that are gone and have nothing pending; returns how many."""
    return int(await scripts.run(store.redis, "stream_tidy", [keys.events(shard)], [group, idle_ms]))


async def measure(store: Store, shard: int, group: str) -> None:
    """Publishes the group's lag and pending entries, and the stream's length."""
    key = keys.events(shard)
    pipe = store.redis.pipeline(transaction=False)
    pipe.xlen(key)
    pipe.xinfo_groups(key)
    length, groups = await pipe.execute()
    metrics.STREAM_LENGTH.labels(shard).set(length)
    for found in groups:
        if found["name"] == group:
            metrics.STREAM_PENDING.labels(group, shard).set(found["pending"])
            metrics.STREAM_LAG.labels(group, shard).set(found.get("lag") or 0)

"""Monitors in Redis beyond a single script: creating with token and slug, reading, listing."""

import asyncio
import heapq
import itertools
import json
import math
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass

import structlog

from shared import directory, keys, scripts, synthetic
from shared.auth import hash_token
from shared.connection import Store
from shared.errors import NotFound
from shared.model import Monitor, completed, from_hash, new_monitor_id, new_token, slugify

log = structlog.get_logger(__name__)

PAGE = 500
"""Monitors read in one round trip: about a millisecond of Redis' time."""
SHARDS_PER_PAGE = 8
"""A page of all monitors is as large as one call of each shard allows, up to so many: some 10 ms of the process."""


@dataclass(frozen=True, slots=True)
class NewMonitor:
    """What a monitor is created from; durations in ms, `channels` is "*", ids with commas, or "" for none."""

    name: str
    timeout: int = 300_000
    grace: int = 0
    token: str | None = None
    slug: str | None = None
    schedule: str = ""
    timezone: str = ""
    methods: str = ""
    tags: Sequence[str] = ()
    channels: str = "*"


async def create(store: Store, new: NewMonitor) -> tuple[Monitor, str]:
    """Creates a monitor and returns it with its token, which nothing can show again.

    The token is reserved first, so that of two creations with one token one gets Conflict; a reservation whose monitor
    was never written (the process died) ends after a minute.
    """
    token = new.token or new_token()
    token_hash = hash_token(token)
    monitor_id = new_monitor_id()
    async with directory.reserved(store, token_hash, monitor_id):
        await write(store, monitor_id, token_hash, new)
    return await get(store, monitor_id), token


async def write(store: Store, monitor_id: str, token_hash: str, new: NewMonitor) -> bool:
    """Writes a new monitor under an id that the caller has reserved; False when the id is taken already."""
    slug = slugify(new.name) if new.slug is None else new.slug
    fields = {
        "name": new.name,
        "slug": slug,
        "token": token_hash,
        "timeout": str(new.timeout),
        "grace": str(new.grace) if new.grace else "",
        "schedule": new.schedule,
        "timezone": new.timezone,
        "methods": new.methods,
        "tags": json.dumps(list(new.tags), ensure_ascii=False) if new.tags else "",
        "channels": new.channels,
    }
    if slug:
        await store.redis.hset(keys.slugs(store.shards, slug), monitor_id, slug)  # type: ignore[misc]
    return bool(await scripts.create_monitor(store, monitor_id, {k: v for k, v in fields.items() if v}))


async def find_by_token(store: Store, token_hash: str) -> str | None:
    """The id of the monitor that has this token now, or None."""
    return await directory.find(store, token_hash)


async def find_by_slug(store: Store, slug: str) -> list[str]:
    """The ids of all monitors with this slug."""
    bucket: dict[str, str] = await store.redis.hgetall(keys.slugs(store.shards, slug))  # type: ignore[misc]
    return [monitor_id for monitor_id, theirs in bucket.items() if theirs == slug]


async def get(store: Store, monitor_id: str) -> Monitor:
    """One monitor; NotFound when there is none of this id, or when it is the self-ping's."""
    key = keys.monitor(store.shard_of(monitor_id), monitor_id)
    fields: dict[str, str] = await store.redis.hgetall(key)  # type: ignore[misc]
    if "status" not in fields or monitor_id == synthetic.MONITOR:
        raise NotFound(f"there is no monitor {monitor_id}")
    return from_hash(monitor_id, fields)


async def get_many(store: Store, ids: Sequence[str]) -> list[Monitor]:
    """The monitors of `ids` in that order; those that do not exist, or whose record is damaged, are left out."""
    async with store.redis.pipeline(transaction=False) as pipe:
        for monitor_id in ids:
            pipe.hgetall(keys.monitor(store.shard_of(monitor_id), monitor_id))
        answers: list[dict[str, str] | Exception] = await pipe.execute(raise_on_error=False)
    found = []
    for monitor_id, fields in zip(ids, answers, strict=True):
        if isinstance(fields, Exception):
            if not str(fields).startswith("WRONGTYPE"):
                raise fields
            log.error("a monitor's record is damaged", monitor=monitor_id, error=str(fields))
        elif "status" in fields:
            try:
                found.append(from_hash(monitor_id, fields))
            except Exception:  # whatever stands in one record, it must not hide all others
                log.exception("a monitor's record is damaged", monitor=monitor_id)
    return found


async def fields(store: Store, ids: Sequence[str], names: Sequence[str]) -> dict[str, list[str]]:
    """The fields `names` (`status` first) of each monitor that exists, as text: what searching all of them needs.

    `incident` wants `gen` beside it. A tenth of the time that `get_many` takes.
    """
    by_shard: dict[int, list[str]] = {}
    for monitor_id in ids:
        by_shard.setdefault(store.shard_of(monitor_id), []).append(monitor_id)
    found: dict[str, list[str]] = {}
    for shard, theirs in by_shard.items():
        for start in range(0, len(theirs), PAGE):
            chunk = theirs[start : start + PAGE]
            key_names = [keys.monitor(shard, monitor_id) for monitor_id in chunk]
            flat: list[str] = await scripts.run(store.redis, "monitor_fields", key_names, names)
            for i, monitor_id in enumerate(chunk):
                values = flat[i * len(names) : (i + 1) * len(names)]
                if "/" in values[0]:
                    whole = completed(monitor_id, dict(zip(names, values, strict=True)))
                    values = [whole[name] for name in names]
                if values[0]:
                    found[monitor_id] = values
    return found


async def fields_of_all(store: Store, names: Sequence[str]) -> AsyncIterator[dict[str, list[str]]]:
    """The fields `names` of every monitor, oldest first, page by page; see `fields`.

    Keep no more of a page than is needed: to make and to forget 100,000 monitors at once takes 100 ms of everybody's.
    """
    # A page is a call for each shard: of many shards it takes more monitors, or most of a call would be its way.
    async for ids in id_pages(store, PAGE * min(store.shards, SHARDS_PER_PAGE)):
        found = await fields(store, ids, names)
        yield {monitor_id: found[monitor_id] for monitor_id in ids if monitor_id in found}


async def deadlines(store: Store, ids: Sequence[str]) -> dict[str, int | None]:
    """When each monitor is due in ms; None where it has no deadline."""
    by_shard: dict[int, list[str]] = {}
    for monitor_id in ids:
        by_shard.setdefault(store.shard_of(monitor_id), []).append(monitor_id)
    found: dict[str, int | None] = {}
    for shard, theirs in by_shard.items():
        scores = await store.redis.zmscore(keys.deadlines(shard), theirs)
        for monitor_id, score in zip(theirs, scores, strict=True):
            found[monitor_id] = None if score is None or math.isinf(score) else int(score)
    return found


async def id_pages(store: Store, size: int = PAGE) -> AsyncIterator[list[str]]:
    """The id of every monitor, oldest first, in pages of at most `size`.

    The ledger is read in steps and sorted in steps: it holds up neither Redis nor whoever else lives in this process.
    """
    known = {synthetic.MONITOR}
    runs: list[list[str]] = []
    for shard in range(store.shards):
        cursor = 0
        while True:
            cursor, chunk = await store.redis.zscan(keys.deadlines(shard), cursor, count=1000)
            # ZSCAN may tell of one twice.
            new = {monitor_id for monitor_id, _ in chunk} - known
            known |= new
            runs.append(sorted(new))
            if not cursor:
                break
    del known
    ordered = heapq.merge(*runs)
    while page := list(itertools.islice(ordered, size)):
        yield page
        await asyncio.sleep(0)


async def all_ids(store: Store) -> list[str]:
    """The id of every monitor, oldest first, in one list."""
    return [monitor_id async for page in id_pages(store) for monitor_id in page]


async def count(store: Store) -> int:
    """How many monitors there are."""
    total = 0
    for shard in range(store.shards):
        key = keys.deadlines(shard)
        total += await store.redis.zcard(key)
        total -= await store.redis.zscore(key, synthetic.MONITOR) is not None
    return total


async def pages(store: Store) -> AsyncIterator[list[Monitor]]:
    """Every monitor, in pages of at most `PAGE`, oldest first."""
    async for ids in id_pages(store):
        yield await get_many(store, ids)


async def update(store: Store, monitor: Monitor, fields: Mapping[str, str]) -> Monitor:
    """Changes settings ("" clears one), the slug's index with them; NotFound when the monitor is gone meanwhile."""
    if not await scripts.update_monitor(store, monitor.id, fields):
        raise NotFound(f"there is no monitor {monitor.id}")
    if "slug" in fields and fields["slug"] != monitor.slug:
        if monitor.slug:
            await store.redis.hdel(keys.slugs(store.shards, monitor.slug), monitor.id)  # type: ignore[misc]
        if fields["slug"]:
            bucket = keys.slugs(store.shards, fields["slug"])
            await store.redis.hset(bucket, monitor.id, fields["slug"])  # type: ignore[misc]
    return await get(store, monitor.id)


async def rotate_token(store: Store, monitor: Monitor, token: str | None = None) -> str:
    """Gives a monitor a new token and returns it; the old one is refused from the same moment on."""
    token = token or new_token()
    token_hash = hash_token(token)
    async with directory.reserved(store, token_hash, monitor.id):
        if not await scripts.update_monitor(store, monitor.id, {"token": token_hash}):
            raise NotFound(f"there is no monitor {monitor.id}")
    await directory.release(store, monitor.token_hash, monitor.id)
    return token


async def delete(store: Store, monitor: Monitor) -> None:
    """Deletes a monitor with its token, slug and history; NotFound when it is gone already."""
    deleted = await scripts.delete_monitor(store, monitor.id)
    # Also when it was gone already: whoever deleted it may have died here, or it was this call, its answer lost.
    await directory.release(store, monitor.token_hash, monitor.id)
    if monitor.slug:
        await store.redis.hdel(keys.slugs(store.shards, monitor.slug), monitor.id)  # type: ignore[misc]
    if not deleted:
        raise NotFound(f"there is no monitor {monitor.id}")

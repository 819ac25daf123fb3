"""What the campaign reads from Redis itself: the growing event stream, the ledger, and whether all is worked off."""

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any

from redis.exceptions import RedisError

from chaos.history import Facts, History, Letter, StreamEvent
from shared import keys
from shared.connection import UNAVAILABLE, Store
from shared.events import unpacked

GROUPS = ("notifier", "webhooks")


def event_of(cursor: str, fields: Mapping[str, str]) -> StreamEvent:
    """The facts of one stream entry."""
    fields = unpacked(fields)
    return StreamEvent(
        id=fields["id"],
        type=fields["type"],
        at=int(fields["at"]),
        cursor=cursor,
        monitor=fields.get("monitor", ""),
        old=fields.get("old", ""),
        new=fields.get("new", ""),
        reason=fields.get("reason", ""),
        channels=fields.get("channels", "*"),
        timeout=int(fields.get("timeout") or 0),
        grace=int(fields.get("grace") or 0),
        about=fields.get("about", ""),
    )


class Tail:
    """Follows the streams of all shards from their beginning; `seen` also has what a broken Redis lost again."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.seen: dict[tuple[int, str], StreamEvent] = {}
        self._position = ["0-0"] * store.shards

    async def follow(self) -> None:
        """Reads until cancelled; an absent Redis is waited for."""
        while True:
            try:
                if not await self.catch_up():
                    await asyncio.sleep(0.1)
            except (*UNAVAILABLE, RedisError):
                await asyncio.sleep(0.2)

    async def catch_up(self) -> int:
        """Reads what is there now; returns how many entries came."""
        count = 0
        for shard in range(self._store.shards):
            entries = await self._store.redis.xrange(
                keys.events(shard), f"({self._position[shard]}", "+", count=1000
            )
            for cursor, fields in entries:
                self.seen[shard, cursor] = event_of(cursor, fields)
                self._position[shard] = cursor
            count += len(entries)
        return count


async def stream(store: Store) -> list[StreamEvent]:
    """Every event that is in the streams now, per shard in order."""
    found = []
    for shard in range(store.shards):
        position = "0-0"
        while entries := await store.redis.xrange(keys.events(shard), f"({position}", "+", count=1000):
            found += [event_of(cursor, fields) for cursor, fields in entries]
            position = entries[-1][0]
    return found


async def count(store: Store) -> int:
    """How many events the streams have."""
    return sum([int(await store.redis.xlen(keys.events(shard))) for shard in range(store.shards)])


async def unfinished(store: Store, targets: list[str]) -> dict[str, int]:
    """What is still to be done: unread or unacknowledged entries per group, pending deliveries per target."""
    left: dict[str, int] = {}
    for shard in range(store.shards):
        # No group yet: nobody has read anything.
        groups: list[Any] = []
        with contextlib.suppress(RedisError):
            groups = await store.redis.xinfo_groups(keys.events(shard))
        newest = await store.redis.xrevrange(keys.events(shard), count=1)
        for group in groups:
            behind = newest and group["last-delivered-id"] != newest[0][0]
            if count := int(group["pending"]) + bool(behind):
                left[f"group {group['name']} {shard}"] = count
    for target in targets:
        shard = store.shard_of(target)
        for name in ("pending", "inflight", "queue"):
            if count := await store.redis.zcard(keys.of_target(shard, name, target)):
                left[f"{name} {target}"] = count
    return left


async def letters(store: Store, targets: list[str]) -> list[Letter]:
    """Dead letters, pending deliveries and the successes that the ledger still has."""
    found = []
    for target in targets:
        shard = store.shard_of(target)
        for name in ("dead", "pending", "done"):
            numbers = await store.redis.zrange(keys.of_target(shard, name, target), 0, -1)
            pipe = store.redis.pipeline(transaction=False)
            for number in numbers:
                pipe.hmget(
                    keys.delivery(shard, target, number), ["event", "status", "attempt", "error", "epoch"]
                )
            for event, status, attempt, error, epoch in await pipe.execute() if numbers else []:
                if event:
                    counts = int(attempt or 0), error or "", int(epoch or 0)
                    found.append(Letter(target, event, status, *counts))
    return found


async def counts(store: Store, targets: list[str]) -> dict[str, int]:
    """How many deliveries of each target have ended, by the counters that grow with each accepted result."""
    found = {}
    for target in targets:
        key = keys.of_target(store.shard_of(target), "target", target)
        ended = await store.redis.hmget(key, ["success_count", "failure_count"])  # type: ignore[misc]
        found[target] = sum(int(value or 0) for value in ended)
    return found


async def gaps(store: Store) -> list[tuple[int, int]]:
    """When nobody listened, over all shards."""
    return sorted({gap for shard in await shard_gaps(store) for gap in shard})


async def shard_gaps(store: Store) -> list[list[tuple[int, int]]]:
    """The same of each shard."""
    found: list[list[tuple[int, int]]] = []
    for shard in range(store.shards):
        members = [member.partition("-") for member in await store.redis.zrange(keys.gaps(shard), 0, -1)]
        found.append(sorted((int(start), int(end)) for start, _, end in members))
    return found


async def collect(store: Store, tail: Tail, history: History) -> Facts:
    """Completes the history with the streams, the ledger and the gaps, as they are now."""
    facts = history.facts
    while await tail.catch_up():
        pass
    final = await stream(store)
    for event in final:
        history.event(event)
    ids = {event.id for event in final}
    facts.vanished = sorted({event.id for event in tail.seen.values()} - ids)
    for letter in await letters(store, sorted(facts.subscriptions)):
        history.letter(letter)
    facts.gaps, facts.shard_gaps = await gaps(store), await shard_gaps(store)
    facts.counts = await counts(store, sorted(facts.subscriptions))
    return facts

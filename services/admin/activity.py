"""What went through lately: application events of the day by type and hour, deliveries of the hour by their end.

Events are counted in this process as it reads on through the stream, a bounded piece per request; what was not read
yet is said to be missing. Deliveries are read from the ledger.
"""

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from shared import channels_store, keys
from shared.connection import Store
from shared.events import OWN_PREFIXES

HOUR_MS: Final = 3_600_000
STEP: Final = 1_000
STEPS: Final = 10
"""Entries read per request at most: some 50 ms, while a day of 1,000,000 events would take seconds."""
KEPT_S: Final = 5.0
"""Deliveries are counted again after so long."""
NEWEST: Final = 100
"""Deliveries of a target and state that are looked at."""


@dataclass
class Day:
    """The last 24 hours of application events: `whole` when all of them were read."""

    hours: list[int]
    types: list[tuple[str, int]]
    total: int
    whole: bool


@dataclass(frozen=True)
class Hour:
    """Deliveries that ended within the last hour."""

    success: int
    failed: int
    pending: int

    @property
    def total(self) -> int:
        """All that ended."""
        return self.success + self.failed

    @property
    def rate(self) -> float | None:
        """Percent of them that succeeded."""
        return 100 * self.success / self.total if self.total else None


@dataclass
class Activity:
    """The counts of one process."""

    by_hour: dict[int, Counter[str]] = field(default_factory=dict)
    at: dict[int, str] = field(default_factory=dict)
    hour: Hour | None = None
    counted: float = 0.0

    async def day(self, store: Store, now: int) -> Day:
        """Reads on, and counts the 24 hours before `now` (ms)."""
        ends = [await self._read_on(store, shard, now) for shard in range(store.shards)]
        first = now // HOUR_MS - 23
        self.by_hour = {hour: found for hour, found in self.by_hour.items() if hour >= first}
        every: Counter[str] = sum((found for found in self.by_hour.values()), Counter())
        hours = [sum(self.by_hour.get(first + i, Counter()).values()) for i in range(24)]
        return Day(hours, every.most_common(), every.total(), all(ends))

    async def _read_on(self, store: Store, shard: int, now: int) -> bool:
        position = self.at.get(shard) or f"{now - 24 * HOUR_MS}-0"
        for _ in range(STEPS):
            entries = await store.redis.xrange(keys.events(shard), f"({position}", "+", count=STEP)
            for _, fields in entries:
                self._count(fields)
            position = entries[-1][0] if entries else position
            self.at[shard] = position
            if len(entries) < STEP:
                return True
        return False

    def _count(self, fields: dict[str, str]) -> None:
        kind = fields.get("type", "")
        at = fields.get("at", "")
        if kind and at.isdigit() and not kind.startswith(OWN_PREFIXES):
            self.by_hour.setdefault(int(at) // HOUR_MS, Counter())[kind] += 1

    async def deliveries(self, store: Store, now: int) -> Hour:
        """The deliveries of the last hour, counted at most every few seconds."""
        if self.hour is None or time.monotonic() - self.counted > KEPT_S:
            self.hour = await last_hour(store, now)
            self.counted = time.monotonic()
        return self.hour


async def targets(store: Store) -> list[str]:
    """Every channel and webhook as the ledger names it."""
    webhooks: list[str] = await store.redis.hkeys(keys.WEBHOOKS)  # type: ignore[misc]
    channels = [channel.target for channel in (await channels_store.load(store)).values()]
    return [*channels, *(f"webhook:{one}" for one in sorted(webhooks, key=int))]


async def last_hour(store: Store, now: int) -> Hour:
    """Counts the newest deliveries of every target that ended since an hour before `now`."""
    pipe = store.redis.pipeline(transaction=False)
    every = await targets(store)
    for target in every:
        shard = store.shard_of(target)
        pipe.zcard(keys.of_target(shard, "pending", target))
        for state in ("done", "dead"):
            pipe.zrevrange(keys.of_target(shard, state, target), 0, NEWEST - 1)
    answers = await pipe.execute()
    states: list[str] = []
    for i, target in enumerate(every):
        for state, numbers in zip(("done", "dead"), answers[3 * i + 1 : 3 * i + 3], strict=True):
            for number in numbers:
                pipe.hget(keys.delivery(store.shard_of(target), target, number), "finished")
                states.append(state)
    ended = [
        state
        for state, at in zip(states, await pipe.execute(), strict=True)
        if at and int(at) > now - HOUR_MS
    ]
    return Hour(ended.count("done"), ended.count("dead"), sum(answers[0::3]))

"""Where the memory of an installation goes, and whether it grows: for the soak.

Redis keeps some things on purpose, for days: events, idempotency keys, incidents, the history of a monitor. They are
measured family by family, so that what is left, the *residue*, has to be flat.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from shared.connection import Store

KEPT: Final = frozenset({"events", "once", "told", "history", "incidents", "open"})
"""Families that grow for days by design: 7 days or 1,000,000 events, a day, 31 days, 400 days, with the history."""
SAMPLED: Final = 23
"""Every so many-th key is asked for its size; a prime, so that no pattern of names is met."""
SLOT: Final = 8
"""Bytes of a slot of Redis' key table."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One look: seconds since the start, bytes of each process, of Redis, and of its families."""

    at: float
    processes: dict[str, int]
    redis: int
    kept: int
    residue: int
    keys: dict[str, int]


def family(key: str) -> str:
    """`events` of `mp:{0}:events`, `delivery` of `mp:{0}:delivery:webhook:1:7`, `queue` of arq's own keys."""
    parts = key.split(":")
    if parts[0] == "arq":
        return "arq"
    return parts[2] if len(parts) > 2 and parts[0] == "mp" else "mp:" + (parts[1] if len(parts) > 1 else "")


async def of_redis(store: Store) -> tuple[int, int, int, dict[str, int]]:
    """Bytes used, bytes kept on purpose, the residue, and the number of keys of each family."""
    counts: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    asked: Counter[str] = Counter()
    cursor = 0
    while True:
        cursor, names = await store.redis.scan(cursor, count=1000)
        chosen = []
        for name in names:
            kind = family(name)
            counts[kind] += 1
            if counts[kind] <= 3 or counts[kind] % SAMPLED == 0:
                chosen.append((kind, name))
        pipe = store.redis.pipeline(transaction=False)
        for _, name in chosen:
            pipe.memory_usage(name, samples=20)
        for (kind, _), size in zip(chosen, await pipe.execute() if chosen else [], strict=True):
            if size:
                asked[kind] += 1
                sizes[kind] += int(size)
        if cursor == 0:
            break
    kept = sum(round(sizes[kind] / asked[kind] * counts[kind]) for kind in KEPT if asked[kind])
    info = await store.redis.info("memory")
    stats = await store.redis.memory_stats()
    # The tables' slots double now and then, which is no leak; a key with a TTL has an entry in a second table.
    total = sum(counts.values())
    slots = SLOT * 2 ** math.ceil(math.log2(max(total, 4)))
    expires = int(stats.get("db.0", {}).get("overhead.hashtable.expires", 0))
    used = int(info["used_memory"])
    return used, kept, used - kept - slots - expires, dict(counts)


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Growth per second by Theil and Sen: the median over all pairs, which no single outlier moves. Pure."""
    step = max(1, len(points) // 200)
    thinned = points[::step]
    slopes = [
        (second[1] - first[1]) / (second[0] - first[0])
        for index, first in enumerate(thinned)
        for second in thinned[index + 1 :]
        if second[0] > first[0]
    ]
    return median(slopes) if slopes else 0.0


def growth_per_hour(points: Sequence[tuple[float, float]], warm_up: float) -> float:
    """Bytes per hour after the first `warm_up` seconds. Pure."""
    return 3600 * slope([point for point in points if point[0] >= warm_up])

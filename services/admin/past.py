"""Reading what was: heartbeats, history and incidents in Redis."""

import re
from dataclasses import dataclass

from services.admin.uptime import Incident, parse_incident
from shared import keys, monitors
from shared.connection import Store
from shared.errors import NotFound
from shared.model import Monitor

DEEPEST = 100_000
"""The largest offset in the list of all incidents, which are read from each shard up to there."""
CHUNK = 1_000

_INCIDENT_ID = re.compile(r"([0-9a-z]{1,40})\.([0-9]{1,15})")
_STATUS = {"ok": "alive", "warning": "warning", "error": "error"}


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """A heartbeat as it was recorded; `at` and `took` in ms."""

    at: int
    kind: str
    took: int | None
    message: str

    @property
    def status(self) -> str | None:
        """The status that it set; None for start and log."""
        return _STATUS.get(self.kind)


@dataclass(frozen=True, slots=True)
class Page:
    """Incidents with their monitors, and how many there are in all."""

    items: list[tuple[Incident, Monitor]]
    total: int


async def now(store: Store) -> int:
    """Redis' time in ms."""
    whole, micros = await store.redis.time()
    return int(whole) * 1000 + int(micros) // 1000


async def heartbeats(store: Store, monitor_id: str) -> list[Heartbeat]:
    """The newest heartbeats of a monitor, at most 100, newest first."""
    key = keys.beats(store.shard_of(monitor_id), monitor_id)
    return [parse_heartbeat(entry) for entry in await store.redis.lrange(key, 0, 99)]  # type: ignore[misc]


def parse_heartbeat(entry: str) -> Heartbeat:
    """The heartbeat of one list entry `<ms> <kind> <ms it took or nothing> <message>`."""
    at, kind, took, message = entry.split(" ", 3)
    return Heartbeat(int(at), kind, int(took) if took else None, message)


async def history(store: Store, monitor_id: str) -> dict[str, str]:
    """A monitor's history hash."""
    found: dict[str, str] = await store.redis.hgetall(keys.history(store.shard_of(monitor_id), monitor_id))  # type: ignore[misc]
    return found


async def incident(store: Store, incident_id: str) -> tuple[Incident, Monitor]:
    """One incident and its monitor; NotFound when there is none, or its monitor was deleted."""
    named = _INCIDENT_ID.fullmatch(incident_id)
    if named:
        key = keys.history(store.shard_of(named[1]), named[1])
        record: str | None = await store.redis.hget(key, f"i:{named[2]}")  # type: ignore[misc]
        found = parse_incident(incident_id, record or "")
        if found:
            return found, await monitors.get(store, named[1])
    raise NotFound(f"there is no incident {incident_id}")


async def incidents(store: Store, limit: int, offset: int, *, is_open: bool | None) -> Page:
    """One page of all incidents, newest first; only open or only closed ones if that is asked."""
    found: list[tuple[float, str]] = []
    total = 0
    for shard in range(store.shards):
        ids, count = await _newest(store, shard, offset + limit, is_open=is_open)
        found += ids
        total += count
    found.sort(reverse=True)
    return Page(await _read(store, [one for _, one in found[offset : offset + limit]]), total)


async def _newest(
    store: Store, shard: int, wanted: int, *, is_open: bool | None
) -> tuple[list[tuple[float, str]], int]:
    """The newest `wanted` incident ids of a shard with their times, and how many there are in all."""
    every, still_open = keys.incidents(shard), keys.open_incidents(shard)
    async with store.redis.pipeline(transaction=False) as pipe:
        pipe.zcard(every)
        pipe.zcard(still_open)
        count, open_count = await pipe.execute()
    source = still_open if is_open else every
    found: list[tuple[float, str]] = []
    start = 0
    while len(found) < wanted:
        chunk = await store.redis.zrevrange(source, start, start + CHUNK - 1, withscores=True)
        if not chunk:
            break
        ids = [one for one, _ in chunk]
        scores = await store.redis.zmscore(still_open, ids) if is_open is False else [None] * len(ids)
        found += [(at, one) for (one, at), score in zip(chunk, scores, strict=True) if score is None]
        start += CHUNK
    total = count if is_open is None else open_count if is_open else count - open_count
    return found[:wanted], total


async def _read(store: Store, ids: list[str]) -> list[tuple[Incident, Monitor]]:
    async with store.redis.pipeline(transaction=False) as pipe:
        for one in ids:
            monitor_id, _, gen = one.rpartition(".")
            pipe.hget(keys.history(store.shard_of(monitor_id), monitor_id), f"i:{gen}")
        records = await pipe.execute()
    theirs = list(dict.fromkeys(one.rpartition(".")[0] for one in ids))
    by_id = {monitor.id: monitor for monitor in await monitors.get_many(store, theirs)}
    pairs = []
    for one, record in zip(ids, records, strict=True):
        found, monitor = parse_incident(one, record or ""), by_id.get(one.rpartition(".")[0])
        if found and monitor:
            pairs.append((found, monitor))
    return pairs

"""Reading what was: heartbeats, history and incidents in Redis."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from services.admin.uptime import Incident, parse_incident, with_noted
from shared import keys, monitors
from shared.connection import Store
from shared.errors import NotFound
from shared.model import Monitor

DEEPEST = 100_000
"""The largest offset in the list of all incidents, which are read from each shard up to there."""
CHUNK = 1_000

NOTED = ["status", "gen", "since"]
"""What `with_noted` asks of a monitor's record."""
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


async def history(store: Store, monitor_id: str) -> Mapping[str, str]:
    """The history hash of a monitor, whole."""
    return (await histories(store, [monitor_id]))[0]


async def histories(store: Store, ids: Sequence[str]) -> list[Mapping[str, str]]:
    """The history hash of each monitor, whole."""
    pipe = store.redis.pipeline(transaction=False)
    for one in ids:
        shard = store.shard_of(one)
        pipe.hmget(keys.monitor(shard, one), NOTED)
        pipe.hgetall(keys.history(shard, one))
    found = await pipe.execute()
    return [with_noted(hash_, *noted) for noted, hash_ in zip(found[::2], found[1::2], strict=True)]


async def incident(store: Store, incident_id: str) -> tuple[Incident, Monitor]:
    """One incident and its monitor; NotFound when there is none, or its monitor was deleted."""
    named = _INCIDENT_ID.fullmatch(incident_id)
    if named:
        (records,) = await _records(store, [incident_id])
        found = parse_incident(incident_id, records)
        if found:
            return found, await monitors.get(store, named[1])
    raise NotFound(f"there is no incident {incident_id}")


async def _records(store: Store, ids: Sequence[str]) -> list[str]:
    """The record of each incident, "" where there is none."""
    pipe = store.redis.pipeline(transaction=False)
    for one in ids:
        monitor_id, _, gen = one.rpartition(".")
        shard = store.shard_of(monitor_id)
        pipe.hmget(keys.monitor(shard, monitor_id), NOTED)
        pipe.hmget(keys.history(shard, monitor_id), [f"i:{gen}"])
    found = await pipe.execute() if ids else []
    records = []
    for one, noted, (record,) in zip(ids, found[::2], found[1::2], strict=True):
        field = f"i:{one.rpartition('.')[2]}"
        records.append(with_noted({field: record} if record else {}, *noted).get(field, ""))
    return records


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
    over, still_open = keys.incidents(shard), keys.open_incidents(shard)
    sources = [
        key for key, asked in ((still_open, is_open is not False), (over, is_open is not True)) if asked
    ]
    found: dict[str, float] = {}  # what closes in between is found in both
    total = 0
    for source in sources:
        total += await store.redis.zcard(source)
        for start in range(0, wanted, CHUNK):
            end = min(start + CHUNK, wanted) - 1
            chunk = await store.redis.zrevrange(source, start, end, withscores=True)
            found.update(chunk)
            if len(chunk) < CHUNK:
                break
    return [(at, one) for one, at in found.items()], total


async def _read(store: Store, ids: list[str]) -> list[tuple[Incident, Monitor]]:
    records = await _records(store, ids)
    theirs = list(dict.fromkeys(one.rpartition(".")[0] for one in ids))
    by_id = {monitor.id: monitor for monitor in await monitors.get_many(store, theirs)}
    pairs = []
    for one, record in zip(ids, records, strict=True):
        found, monitor = parse_incident(one, record), by_id.get(one.rpartition(".")[0])
        if found and monitor:
            pairs.append((found, monitor))
    return pairs

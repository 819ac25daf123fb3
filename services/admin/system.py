"""`GET /api/system`: how MishPulse itself is doing."""

from typing import Any, Final

from fastapi import APIRouter, Depends
from pydantic import BaseModel
from redis.exceptions import ResponseError

from services.admin import past
from services.admin.activity import targets
from services.admin.shapes import Time
from shared import keys, monitors, presence
from shared.cluster import primaries
from shared.connection import Store
from shared.events import iso
from shared.version import version
from shared.web import StoreDep, errors, requires

router = APIRouter(prefix="/api/system", tags=["system"], dependencies=[Depends(requires("read"))])

GAPS_SHOWN: Final = 50


class ProcessOut(BaseModel):
    """A process; `alive` while it has been seen within the last seconds."""

    service: str
    host: str
    pid: int
    version: str
    python: str
    started_at: Time
    seen_at: Time
    alive: bool


class GroupOut(BaseModel):
    """A consumer group of the event stream: `lag` entries it has not read, `pending` it has not acknowledged."""

    name: str
    lag: int | None
    pending: int
    consumers: int


class StreamOut(BaseModel):
    """A shard's event stream."""

    shard: int
    length: int
    poison: int
    groups: list[GroupOut]


class DeliveriesOut(BaseModel):
    """Deliveries in the ledger: waiting for an attempt, the targets with one due now, and dead letters."""

    pending: int
    due_targets: int
    dead_letters: int


class BlindOut(BaseModel):
    """A time in which no collector listened; duration in seconds. No deadline counted through it."""

    start: Time
    end: Time
    duration: float


class ServerOut(BaseModel):
    """The Redis or Valkey server."""

    name: str
    version: str
    used_memory: int
    persistent: bool


class SystemOut(BaseModel):
    """MishPulse as a whole; `listening_at` is the newest sign of a collector."""

    version: str
    shards: int
    monitors: int
    listening_at: Time | None
    server: ServerOut
    processes: list[ProcessOut]
    streams: list[StreamOut]
    deliveries: DeliveriesOut
    blind: list[BlindOut]


@router.get("", responses=errors(401, 403, 503))
async def get_system(store: StoreDep) -> SystemOut:
    """Processes, streams, deliveries, and the times in which MishPulse was deaf."""
    now = await past.now(store)
    shards = range(store.shards)
    stamps = [await store.redis.get(keys.ingest(shard)) for shard in shards]
    return SystemOut(
        version=version(),
        shards=store.shards,
        monitors=await monitors.count(store),
        listening_at=iso(max((int(stamp) for stamp in stamps if stamp), default=None)),
        server=await _server(store),
        processes=[_process(one, now) for one in await presence.processes(store, now)],
        streams=[await _stream(store, shard) for shard in shards],
        deliveries=await _deliveries(store, now),
        blind=await _blind(store),
    )


def _process(one: presence.Process, now: int) -> ProcessOut:
    return ProcessOut(
        service=one.service,
        host=one.host,
        pid=one.pid,
        version=one.version,
        python=one.python,
        started_at=iso(one.started) or "",
        seen_at=iso(one.seen) or "",
        alive=one.seen >= now - presence.LIVES_MS,
    )


async def _server(store: Store) -> ServerOut:
    """The server; of a cluster the memory of all its primaries, and whether each of them keeps its data."""
    infos: list[dict[str, Any]] = [await server.info() for server in await primaries(store.redis)]
    valkey = infos[0].get("valkey_version")
    return ServerOut(
        name="Valkey" if valkey else "Redis",
        version=str(valkey or infos[0].get("redis_version", "")),
        used_memory=sum(int(info.get("used_memory", 0)) for info in infos),
        persistent=all(info.get("aof_enabled") for info in infos),
    )


async def _stream(store: Store, shard: int) -> StreamOut:
    key = keys.events(shard)
    length, poison = await store.redis.xlen(key), await store.redis.xlen(keys.poison(shard))
    try:
        groups = await store.redis.xinfo_groups(key)
    except ResponseError:  # no such key: nothing was ever emitted
        groups = []
    shown = [
        GroupOut(name=one["name"], lag=one.get("lag"), pending=one["pending"], consumers=one["consumers"])
        for one in groups
    ]
    return StreamOut(shard=shard, length=length, poison=poison, groups=shown)


async def _deliveries(store: Store, now: int) -> DeliveriesOut:
    pipe = store.redis.pipeline(transaction=False)
    every = await targets(store)
    for target in every:
        shard = store.shard_of(target)
        pipe.zcard(keys.of_target(shard, "pending", target))
        pipe.zcard(keys.of_target(shard, "dead", target))
    counted = await pipe.execute()
    for shard in range(store.shards):
        for kind in ("channel", "webhook"):
            pipe.zcount(keys.due(shard, kind), "-inf", now)
    due = await pipe.execute()
    return DeliveriesOut(pending=sum(counted[0::2]), dead_letters=sum(counted[1::2]), due_targets=sum(due))


async def _blind(store: Store) -> list[BlindOut]:
    """The newest gaps in listening of any shard."""
    found: set[tuple[int, int]] = set()
    for shard in range(store.shards):
        for gap in await store.redis.zrevrange(keys.gaps(shard), 0, GAPS_SHOWN - 1):
            start, _, end = gap.partition("-")
            found.add((int(end), int(start)))
    newest = sorted(found, reverse=True)[:GAPS_SHOWN]
    return [BlindOut(start=iso(a) or "", end=iso(b) or "", duration=(b - a) / 1000) for b, a in newest]

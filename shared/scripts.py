"""Each Lua script of a monitor's state behind one typed function.

The scripts are `lua/*.lua`; a line `--@include name` stands for `lua/include/name.lua`. Every function here is one
atomic step on one shard, reads the clock of Redis, and bears being run twice.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Final, Literal, NamedTuple

from redis.exceptions import NoScriptError

from shared import keys
from shared.connection import Packed, RedisClient, Store, pack
from shared.model import made_at

INCLUDE = re.compile(r"^--@include (\w+)$", re.MULTILINE)

RECORDED: Final = 1
CHANGED: Final = 2
IGNORED: Final = 0
UNKNOWN_TOKEN: Final = -1
BROKEN: Final = -2

NOTHING_DUE: Final = -1
PUT_OFF: Final = -2
NEEDS_JUDGEMENT: Final = -3
DAMAGED: Final = -4
UNHEARD: Final = -5
LONG_WAY: Final = -6

STALE_AFTER_MS: Final = 1_000
"""A stamp older than this says that nobody listens: four missed stamps, and half of the gap that is credited."""
GAP_MS: Final = 2_000
"""DESIGN's bound: a silence among all collectors above this is credited to every deadline it touches."""

RunArgument = str | bytes | int | float


@cache
def source(name: str) -> tuple[str, str]:
    """The text of a script with its includes, and the SHA-1 under which Redis caches it."""
    folder = files("shared") / "lua"
    text = (folder / f"{name}.lua").read_text()
    text = INCLUDE.sub(lambda m: (folder / "include" / f"{m[1]}.lua").read_text(), text)
    return text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


async def run(
    redis: RedisClient, name: str, key_names: Sequence[str], arguments: Iterable[RunArgument]
) -> Any:
    """Runs `lua/<name>.lua`; a server that does not know it yet is given the text, on whichever node that is."""
    return await call(redis, name, len(key_names), (*key_names, *arguments))


async def call(redis: RedisClient, name: str, key_count: int, parts: Sequence[RunArgument | Packed]) -> Any:
    """As `run`, with keys and arguments in one sequence, whose last one may be `Packed`."""
    text, sha = source(name)
    try:
        return await redis.evalsha(sha, key_count, *parts)  # type: ignore[arg-type, misc]
    except NoScriptError:
        return await redis.eval(text, key_count, *parts)  # type: ignore[arg-type, misc]


Kind = Literal["ok", "warning", "error", "start", "log"]


@dataclass(frozen=True, slots=True)
class MonitorKeys:
    """What the hot path needs to know of a monitor, resolved once per token and cached."""

    shard: int
    monitor_id: str
    token_hash: str
    names: bytes
    """Its keys, packed in the order in which `beat.lua` takes them."""
    who: bytes
    """Its id and token hash, packed."""


def monitor_keys(store: Store, monitor_id: str, token_hash: str) -> MonitorKeys:
    """The keys of one monitor, as the script for heartbeats is given them."""
    shard = store.shard_of(monitor_id)
    names = [key(shard, monitor_id) for key in (keys.monitor, keys.pulse, keys.beats, keys.history)]
    return MonitorKeys(shard, monitor_id, token_hash, pack(*names), pack(monitor_id, token_hash))


class Beat(NamedTuple):
    """One heartbeat on its way to Redis; `message` is at most 10,000 bytes of UTF-8."""

    monitor: MonitorKeys
    kind: Kind
    post: bool = True
    rid: str = ""
    message: str = ""


@cache
def _plain(kind: Kind, post: bool) -> bytes:
    """What a heartbeat without run id and message says, packed."""
    return pack(kind, "1" if post else "0", "", "")


async def beat(redis: RedisClient, shard: int, beats: Sequence[Beat]) -> list[int]:
    """Records heartbeats of one shard in one call; the answers (`RECORDED`, …) stand in the same order."""
    own = (keys.deadlines(shard), keys.events(shard), keys.incidents(shard), keys.open_incidents(shard))
    names: list[bytes] = []
    said: list[bytes] = []
    for monitor, kind, post, rid, message in beats:
        names.append(monitor.names)
        said.append(monitor.who)
        said.append(pack(kind, "1" if post else "0", rid, message) if rid or message else _plain(kind, post))
    rest = Packed(10 * len(beats), b"".join(names + said))
    answers: list[int] = await call(redis, "beat", len(own) + 4 * len(beats), (*own, rest))
    return answers


@dataclass(frozen=True, slots=True)
class Stamped:
    """What a stamp found: the gap in ms that it ended (0 for none), and the ms until the next deadline (None: none)."""

    gap: int
    following: int | None


async def server_time(redis: RedisClient, shard: int) -> int:
    """The ms since the epoch by the clock of the server that holds the shard."""
    return int(await run(redis, "time", [keys.ingest(shard)], []))


async def stamp(
    redis: RedisClient, shard: int, blind_after_ms: int | None, heard: int | None = None
) -> Stamped:
    """Says that a collector has recorded whatever arrived until `heard` (ms of the server; None: until now).

    A gap above `GAP_MS` is recorded; above `blind_after_ms` it also emits `system.blind` (None: never, so that of
    many shards one tells it). A clock that stepped back is marked for the watchdogs (`rewind`).
    """
    told = "" if blind_after_ms is None else blind_after_ms
    key_names = [
        keys.ingest(shard),
        keys.gaps(shard),
        keys.events(shard),
        keys.stepped(shard),
        keys.deadlines(shard),
    ]
    gap, following = await run(redis, "stamp", key_names, [GAP_MS, told, "" if heard is None else heard])
    return Stamped(int(gap), int(following) if following else None)


async def rewind(redis: RedisClient, shard: int, ids: Sequence[str], *, forget: str = "") -> int:
    """Brings monitors' times and deadlines that a stepped clock left ahead to the present; returns how many deadlines.

    `forget` is the mark of the step, when no monitor is left; a newer step's mark stays.
    """
    key_names = [keys.deadlines(shard), keys.stepped(shard)]
    for monitor_id in ids:
        key_names += (keys.monitor(shard, monitor_id), keys.pulse(shard, monitor_id))
    return int(await run(redis, "rewind", key_names, [forget, *ids]))


@dataclass(frozen=True, slots=True)
class Due:
    """Monitors whose deadline has passed; `now` and `following` (the next deadline) in ms of Redis time."""

    now: int
    stale: bool
    following: int | None
    ids: list[str]


async def due(redis: RedisClient, shard: int, limit: int, passed_over: int = 0) -> Due:
    """Finds at most `limit` monitors that are due, oldest first, without the oldest `passed_over`.

    None while the collectors' stamp is stale.
    """
    now, stale, following, ids = await run(
        redis, "due", [keys.deadlines(shard), keys.ingest(shard)], [limit, STALE_AFTER_MS, passed_over]
    )
    return Due(int(now), bool(stale), int(float(following)) if following else None, ids)


async def perish(redis: RedisClient, shard: int, ids: Sequence[str]) -> tuple[int, list[int]]:
    """Deaths by the short way, at half the cost; answers as `declare` does, and `LONG_WAY` for what is its matter."""
    shard_keys = (keys.deadlines, keys.events, keys.open_incidents, keys.ingest, keys.gaps)
    key_names = [key(shard) for key in shard_keys] + [keys.monitor(shard, one) for one in ids]
    key_names += [keys.pulse(shard, one) for one in ids]
    now, results = await run(redis, "perish", key_names, [STALE_AFTER_MS, *ids])
    return int(now), results


async def declare(redis: RedisClient, shard: int, verdicts: Mapping[str, str]) -> tuple[int, list[int]]:
    """Turns passed deadlines into deaths: (Redis time in ms, per monitor the lag in ms or `NOTHING_DUE`, …).

    `verdicts` maps a monitor id to "" or, for a cron schedule, to the state that the caller judged. The list is empty
    while the stamp is stale. Any number of watchdogs may race: the deadline is checked again inside.
    """
    shard_keys = (keys.deadlines, keys.events, keys.incidents, keys.open_incidents, keys.ingest, keys.gaps)
    key_names = [key(shard) for key in shard_keys]
    arguments: list[RunArgument] = [STALE_AFTER_MS]
    for monitor_id, verdict in verdicts.items():
        key_names += (
            keys.monitor(shard, monitor_id),
            keys.pulse(shard, monitor_id),
            keys.history(shard, monitor_id),
        )
        arguments += (monitor_id, verdict)
    now, results = await run(redis, "declare", key_names, arguments)
    return int(now), results


class CronDeadline(NamedTuple):
    """A deadline (ms) for a cron monitor that was judged when its record had this `gen` and `seen`; see `rearm.lua`."""

    monitor_id: str
    gen: int
    seen: int
    deadline: int
    base: int


async def rearm(redis: RedisClient, shard: int, judged: Sequence[CronDeadline]) -> list[int]:
    """Sets cron monitors' deadlines in one call: per monitor 1, 0 when it changed since it was read, or `DAMAGED`."""
    key_names = [keys.deadlines(shard)]
    arguments: list[RunArgument] = []
    for one in judged:
        key_names += (keys.monitor(shard, one.monitor_id), keys.pulse(shard, one.monitor_id))
        arguments += one
    answers: list[int] = await run(redis, "rearm", key_names, arguments)
    return answers


async def create_monitor(store: Store, monitor_id: str, fields: Mapping[str, str]) -> int:
    """Creates a monitor; returns the time in ms, or 0 when the id is taken."""
    shard = store.shard_of(monitor_id)
    key_names = [keys.monitor(shard, monitor_id), keys.deadlines(shard), keys.events(shard)]
    flat = [part for pair in fields.items() for part in pair]
    return int(await run(store.redis, "create_monitor", key_names, [monitor_id, made_at(monitor_id), *flat]))


async def update_monitor(
    store: Store, monitor_id: str, fields: Mapping[str, str], *, tell: bool = True
) -> bool:
    """Changes settings ("" clears one) and moves the deadline; False when there is no such monitor."""
    shard = store.shard_of(monitor_id)
    key_names = [
        keys.monitor(shard, monitor_id),
        keys.deadlines(shard),
        keys.pulse(shard, monitor_id),
        keys.events(shard),
        keys.history(shard, monitor_id),
        keys.incidents(shard),
    ]
    flat = [part for pair in fields.items() for part in pair]
    answer = await run(store.redis, "update_monitor", key_names, [monitor_id, int(tell), *flat])
    return bool(answer)


async def pause_monitor(store: Store, monitor_id: str, action: Literal["pause", "resume"]) -> bool | None:
    """Pauses or resumes; True when that changed something, None when there is no such monitor."""
    shard = store.shard_of(monitor_id)
    key_names = [
        keys.monitor(shard, monitor_id),
        keys.deadlines(shard),
        keys.pulse(shard, monitor_id),
        keys.events(shard),
        keys.history(shard, monitor_id),
        keys.incidents(shard),
        keys.open_incidents(shard),
    ]
    answer = int(await run(store.redis, "pause_monitor", key_names, [monitor_id, action]))
    return None if answer < 0 else bool(answer)


async def delete_monitor(store: Store, monitor_id: str) -> bool:
    """Deletes a monitor with its heartbeats, history and incidents; False when there is none."""
    shard = store.shard_of(monitor_id)
    key_names = [
        keys.monitor(shard, monitor_id),
        keys.deadlines(shard),
        keys.pulse(shard, monitor_id),
        keys.events(shard),
        keys.history(shard, monitor_id),
        keys.incidents(shard),
        keys.open_incidents(shard),
        keys.beats(shard, monitor_id),
    ]
    return bool(await run(store.redis, "delete_monitor", key_names, [monitor_id]))

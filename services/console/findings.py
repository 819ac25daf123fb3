"""What `mishpulse doctor` judges of a Redis from what it says of itself. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from shared import schema

OLDEST: Final = (7, 0)
SKEW_WARN: Final = 2.0
SKEW_FAIL: Final = 60.0
"""Seconds between the clocks of Redis and of this machine: telemetry allows 600, and people read both."""
ROOM: Final = 0.85
"""Share of maxmemory above which writes are about to be refused."""

Verdict = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at: what was found, and what to do when it is not well."""

    check: str
    verdict: Verdict
    found: str
    mend: str = ""


def version(info: Mapping[str, Any]) -> Finding:
    """Redis 7.0 or newer, or any Valkey, which says 7.2 or more for compatibility."""
    text = str(info.get("redis_version", ""))
    found = re.match(r"(\d+)\.(\d+)", text)
    name = "Valkey" if info.get("server_name") == "valkey" else "Redis"
    shown = f"{name} {info.get('valkey_version', text)}"
    if found and (int(found[1]), int(found[2])) >= OLDEST:
        return Finding("version", "ok", shown)
    return Finding("version", "fail", shown or "unknown", "upgrade to Redis 7.0 or newer, or Valkey")


def persistence(info: Mapping[str, Any], fsync: str) -> Finding:
    """The append-only file is on and can be written."""
    if str(info.get("aof_enabled")) != "1":
        return Finding(
            "persistence",
            "fail",
            "no append-only file: a restart loses everything since the last snapshot, if there is one",
            "set `appendonly yes` in redis.conf (now: CONFIG SET appendonly yes)",
        )
    if info.get("aof_last_write_status", "ok") != "ok":
        return Finding(
            "persistence", "fail", "the append-only file cannot be written", "make room on the disk"
        )
    if fsync == "no":
        mend = "set `appendfsync everysec` in redis.conf"
        return Finding("persistence", "warn", "appendfsync no: a crash loses what the kernel held", mend)
    return Finding("persistence", "ok", f"append-only file, appendfsync {fsync or 'unknown'}")


def eviction(info: Mapping[str, Any]) -> Finding:
    """A full memory refuses writes and forgets no monitor."""
    policy = str(info.get("maxmemory_policy", "unknown"))
    if policy == "noeviction":
        return Finding("eviction", "ok", policy)
    limit = int(info.get("maxmemory", 0) or 0)
    verdict: Verdict = "fail" if limit else "warn"
    return Finding(
        "eviction",
        verdict,
        f"{policy}: a full memory deletes keys, monitors among them",
        "set `maxmemory-policy noeviction` in redis.conf (now: CONFIG SET maxmemory-policy noeviction)",
    )


def memory(info: Mapping[str, Any]) -> Finding:
    """There is room left below `maxmemory`."""
    used, limit = int(info.get("used_memory", 0)), int(info.get("maxmemory", 0) or 0)
    shown = f"{used / 2**20:.0f} MiB used" + (f" of {limit / 2**20:.0f}" if limit else ", no limit")
    if limit and used > limit * ROOM:
        return Finding("memory", "fail", shown, "raise maxmemory, or delete what is not needed")
    return Finding("memory", "ok", shown)


def notifications(flags: str | None) -> Finding:
    """Expiry events, the hint by which a silence is found soon even when the sweep is held up."""
    if flags is None:
        return Finding(
            "notifications", "warn", "CONFIG may not be read here", "look for notify-keyspace-events Ex"
        )
    if "E" in flags and ("x" in flags or "A" in flags):
        return Finding("notifications", "ok", f"notify-keyspace-events {flags}")
    return Finding(
        "notifications",
        "warn",
        f"notify-keyspace-events {flags or 'off'}: silences are found by the sweep alone",
        "set `notify-keyspace-events Ex` in redis.conf (now: CONFIG SET notify-keyspace-events Ex)",
    )


def clock(redis_time: float, before: float, after: float) -> Finding:
    """The clock of Redis, which decides, against this machine's, in seconds."""
    skew = redis_time - after if redis_time > after else min(0.0, redis_time - before)
    shown = f"Redis and this machine differ by {abs(skew):.1f} s"
    if abs(skew) < SKEW_WARN:
        return Finding("clock", "ok", shown)
    mend = "run an NTP client on both machines"
    return Finding("clock", "fail" if abs(skew) >= SKEW_FAIL else "warn", shown, mend)


def data(stored: Mapping[str, str], shards: int | None) -> Finding:
    """The data is of this version and of this number of shards; an empty server is well."""
    if not stored:
        return Finding("data", "ok", "none yet")
    held, made = int(stored.get("version", 0)), int(stored.get("shards", 1))
    if held > schema.VERSION:
        return Finding(
            "data", "fail", f"schema version {held}, this MishPulse knows {schema.VERSION}", "upgrade it"
        )
    if shards not in (None, made):
        found = f"written with {made} shards, PULSE_SHARDS is {shards}"
        return Finding("data", "fail", found, f"set PULSE_SHARDS={made}")
    return Finding("data", "ok", f"schema version {held}, {made} {'shard' if made == 1 else 'shards'}")


def listening(age: float | None) -> Finding:
    """Whether a collector stamps that it listens; `age` of its newest stamp in seconds."""
    if age is None:
        return Finding(
            "collector", "warn", "none has ever run on this data", "start `mishpulse up` or a collector"
        )
    if age > 5:
        mend = "start `mishpulse up` or a collector: nobody is declared dead meanwhile"
        return Finding("collector", "fail", f"none has listened for {age:.0f} s", mend)
    return Finding("collector", "ok", "listens")


def self_ping(age: float | None, limit: float, *, wanted: bool) -> Finding:
    """Whether the outside hears of us; `age` of the last time in seconds, `limit` when its alarm is due."""
    if age is None:
        if not wanted:
            return Finding("self-ping", "ok", "not used")
        return Finding("self-ping", "warn", "the outside was never told", "start a notifier, and see its log")
    if age <= limit:
        return Finding("self-ping", "ok", f"the outside was told {age:.0f} s ago")
    verdict: Verdict = "fail" if wanted else "ok"
    mend = "look for self_ping in the notifier's log: late, untold or refused; nothing there: a link is down"
    return Finding("self-ping", verdict, f"the outside was last told {age:.0f} s ago", mend if wanted else "")

"""The monitor: its settings, its state and the rules that hold for both. Pure."""

import json
import re
import secrets
import time
import unicodedata
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, get_args
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

Status = Literal["new", "alive", "warning", "error", "dead", "paused"]
STATUSES: tuple[Status, ...] = get_args(Status)

MESSAGE_BYTES = 10_000
"""CONTRACT 2: a heartbeat's message is cut here; also the limit that clients of /ping know."""

TOKEN = re.compile(r"[A-Za-z0-9_-]{3,64}")
SLUG = re.compile(r"[a-z0-9]+(?:[-_][a-z0-9]+)*")
MONITOR_ID_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
"""Crockford's base 32 in lower case: sorts like the number it writes."""


@dataclass(frozen=True, slots=True)
class Monitor:
    """A monitor as stored. Times are ms since the epoch, None where there is none; durations are ms."""

    id: str
    name: str
    slug: str
    token_hash: str
    status: Status
    gen: int
    created: int
    since: int
    timeout: int
    grace: int
    schedule: str
    timezone: str
    methods: str
    tags: tuple[str, ...]
    channels: str
    seen: int | None
    base: int | None
    started: int | None
    incident: str | None
    muted: int | None


def _ms(fields: Mapping[str, str], name: str) -> int | None:
    value = fields.get(name)
    return int(value) if value else None


def completed(monitor_id: str, fields: Mapping[str, str]) -> Mapping[str, str]:
    """A monitor's hash, or the part of it with the status, as if no death were only noted.

    `perish.lua` notes a death as `<status before>/<ms>`: dead since then, one generation on, with an incident. Whatever
    changes the record next writes that out.
    """
    _, noted, died = fields["status"].partition("/")
    if not noted:
        return fields
    gen = int(fields.get("gen") or 0) + 1
    died_so = {"status": "dead", "gen": str(gen), "since": died, "incident": f"{monitor_id}.{gen}"}
    return {**fields, **died_so}


def from_hash(monitor_id: str, fields: Mapping[str, str]) -> Monitor:
    """The monitor of its Redis hash; KeyError when the hash is no monitor's."""
    fields = completed(monitor_id, fields)
    status: Status = fields["status"]  # type: ignore[assignment]
    return Monitor(
        id=monitor_id,
        name=fields.get("name", monitor_id),
        slug=fields.get("slug", ""),
        token_hash=fields.get("token", ""),
        status=status,
        gen=int(fields["gen"]),
        created=_ms(fields, "created") or made_at(monitor_id),
        since=int(fields["since"]),
        timeout=int(fields.get("timeout", 0)),
        grace=int(fields.get("grace", 0)),
        schedule=fields.get("schedule", ""),
        timezone=fields.get("timezone", ""),
        methods=fields.get("methods", ""),
        tags=tuple(json.loads(fields["tags"])) if fields.get("tags") else (),
        channels=fields.get("channels", ""),
        seen=_ms(fields, "seen"),
        base=_ms(fields, "base"),
        started=_ms(fields, "started"),
        incident=fields.get("incident") or None,
        muted=_ms(fields, "muted"),
    )


def new_monitor_id() -> str:
    """An id that sorts by time of creation: 9 characters of ms, 5 at random (1 in 33 million to clash in one ms)."""
    number = int(time.time() * 1000)
    head = ""
    for _ in range(9):
        head = MONITOR_ID_ALPHABET[number % 32] + head
        number //= 32
    return head + "".join(secrets.choice(MONITOR_ID_ALPHABET) for _ in range(5))


def made_at(monitor_id: str) -> int:
    """When an id of `new_monitor_id` was made, in ms; 0 for one that was not made by it."""
    head = monitor_id[:9]
    if len(monitor_id) != 14 or any(letter not in MONITOR_ID_ALPHABET for letter in head):
        return 0
    number = 0
    for letter in head:
        number = number * 32 + MONITOR_ID_ALPHABET.index(letter)
    return number


def new_token() -> str:
    """A monitor token: a random UUID, so that it serves clients that insist on one."""
    return str(uuid.uuid4())


def slugify(name: str) -> str:
    """The default slug of a name: lower-case ASCII letters, digits and hyphens; "" when nothing is left."""
    ascii_name = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9_]+", "-", ascii_name).strip("-_")[:100].strip("-_")


def cut_message(message: str) -> str:
    """At most `MESSAGE_BYTES` bytes of UTF-8, cut between characters; lone surrogates become `?`."""
    data = message.encode("utf-8", "replace")
    return data[:MESSAGE_BYTES].decode("utf-8", "ignore") if len(data) > MESSAGE_BYTES else data.decode()


def next_run(schedule: str, timezone: str, after: int) -> int:
    """The next time in ms at which cron `schedule` fires in `timezone` after `after` (ms).

    Daylight-saving changes follow Debian's cron (see cronsim): a run in a skipped hour happens right after it, a run
    in a repeated hour once. Raises ValueError for what is no schedule or never fires again.
    """
    start = datetime.fromtimestamp(after / 1000, UTC).astimezone(ZoneInfo(timezone or "UTC"))
    try:
        following = next(CronSim(schedule, start))
    except CronSimError as error:
        raise ValueError(f"{schedule!r} is no cron schedule that fires: {str(error).lower()}") from error
    except StopIteration as error:
        raise ValueError(f"{schedule!r} is no cron schedule that fires: there is no such day") from error
    return int(following.timestamp() * 1000)


def check_schedule(schedule: str, timezone: str) -> None:
    """Raises ValueError with a sentence when the cron schedule or the time zone is not one, or never fires."""
    try:
        ZoneInfo(timezone or "UTC")
    except Exception as error:
        raise ValueError(f"unknown time zone {timezone!r}; use a name such as Europe/Berlin") from error
    next_run(schedule, timezone, int(time.time() * 1000))


def credited(deadline: int, base: int, gaps: list[tuple[int, int]], window: int) -> tuple[int, int]:
    """The deadline and the time it counts from after gaps in our own listening (all ms); see `declare.lua`.

    A gap (start, end) touches a deadline when it ends after `base` and starts before the deadline.
    """
    for start, end in sorted(gaps, key=lambda gap: gap[1]):
        if end > base and start < deadline:
            base = end
            deadline = max(deadline, end + window)
    return deadline, base

"""Events: past facts in the shard's stream, read by the notifier, the webhooks service and live clients."""

import hashlib
import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from typing import Any, Final

from shared import keys, patterns, scripts, synthetic
from shared.connection import Store

OWN_PREFIXES = ("monitor.", "webhook.", "delivery.", "system.")
"""Types that only MishPulse emits; an application that sends one gets 422."""

OWN_IDS = "mp."
"""Event ids that only MishPulse gives; an application's id must not start so, or it could pass for a transition."""

MONITOR_EVENTS = tuple(
    f"monitor.{word}"
    for word in (
        "created",
        "updated",
        "deleted",
        "paused",
        "resumed",
        "alive",
        "warning",
        "error",
        "dead",
        "recovered",
    )
)
OTHER_OWN_EVENTS = ("webhook.disabled", "delivery.dead_letter", "system.blind")

MONITOR_FIELDS = (
    *("type", "at", "gen", "monitor", "name", "slug", "tags", "channels", "timeout", "grace", "muted"),
    *("schedule", "old", "new", "seen", "reason", "incident", "since", "message"),
)
"""What a `monitor.*` event tells: the values of the field `record`, all that its stream entry has, which
`include/transition.lua` writes with NUL in between. No name and no schedule has one; the message, which may, is last.
"""


def iso(ms: int | None) -> str | None:
    """ISO 8601 in UTC with `Z`, in seconds, or with milliseconds where there are any; None stays None."""
    return None if ms is None else _iso(ms)


@lru_cache(maxsize=1024)  # of one moment a storm has thousands of events
def _iso(ms: int) -> str:
    at = datetime.fromtimestamp(ms / 1000, UTC)
    return at.isoformat(timespec="milliseconds" if ms % 1000 else "seconds").replace("+00:00", "Z")


_CANONICAL: Final = json.JSONEncoder(sort_keys=True, allow_nan=False)


def canonical(payload: Any) -> str:
    """The text that receivers get: `json.dumps(payload, sort_keys=True)`, byte for byte.

    The standard module and not orjson, which turns integers over 64 bits into floats.
    """
    return _CANONICAL.encode(payload)


matches = patterns.matches


@dataclass(frozen=True)
class Event:
    """A past fact. `id` names it everywhere; `cursor` is its stream id within `shard`; `at` is in ms."""

    id: str
    type: str
    at: int
    cursor: str
    shard: int
    fields: Mapping[str, str]

    @property
    def about(self) -> str | None:
        """The target (`channel:3`) that this event is about and must never go to: no loops."""
        return self.fields.get("about") or None

    @property
    def synthetic(self) -> bool:
        """Whether it is the self-ping's: it passes through the stream and is nobody's news."""
        return self.fields.get("monitor") == synthetic.MONITOR

    @property
    def timestamp(self) -> str:
        """When it happened, as clients see it."""
        return iso(self.at) or ""

    @cached_property
    def payload(self) -> str:
        """The canonical JSON that receivers get."""
        if "payload" in self.fields:
            return canonical(json.loads(self.fields["payload"]))
        if self.type == "system.blind":
            start, end = int(self.fields["from"]), int(self.fields["to"])
            return canonical({"from": iso(start), "to": iso(end), "seconds": (end - start) / 1000})
        return canonical(monitor_payload(self.fields))


def monitor_payload(fields: Mapping[str, str]) -> dict[str, Any]:
    """The payload of a `monitor.*` event (CONTRACT 4) from its stream fields."""
    return {
        "monitor": {
            "id": fields["monitor"],
            "name": fields["name"],
            "slug": fields["slug"],
            "tags": json.loads(fields["tags"] or "[]"),
        },
        "old_status": fields["old"],
        "new_status": fields["new"],
        "at": iso(int(fields["at"])),
        "last_seen": iso(int(fields["seen"])) if fields["seen"] else None,
        "message": fields["message"] or None,
        "reason": fields["reason"],
        "incident_id": fields["incident"] or None,
    }


def parse(shard: int, entry_id: str, fields: Mapping[str, str]) -> Event:
    """The event of one stream entry.

    Raises KeyError or ValueError for an entry that is none; the consumer treats it as poison.
    """
    fields = unpacked(fields)
    return Event(fields["id"], fields["type"], int(fields["at"]), entry_id, shard, fields)


def unpacked(fields: Mapping[str, str]) -> Mapping[str, str]:
    """The fields of a stream entry, what its `record` tells as fields of their own. ValueError for a broken one."""
    if "record" not in fields:
        return fields
    record = fields["record"]
    if "type" in fields:  # written before the type went into the record
        record = f"{fields['type']}\0{record}"
    found = dict(zip(MONITOR_FIELDS, record.split("\0", len(MONITOR_FIELDS) - 1), strict=True))
    return found | {"id": f"mp.{found['monitor']}.{found.pop('gen')}"}


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event to append. `payload` is JSON text; `at` in ms, None for now; `about` a target or ""."""

    type: str
    payload: str
    id: str
    at: int | None = None
    about: str = ""


def new_id() -> str:
    """An id for an event that came without one."""
    return secrets.token_hex(16)


async def emit(store: Store, items: Sequence[NewEvent]) -> int:
    """Appends events and says how many were new; an id is accepted once a day.

    One script call per shard. Raises redis-py's errors; on one, what was sent to earlier shards stays, and a retry
    with the same ids completes the rest.
    """
    by_shard: dict[int, list[NewEvent]] = {}
    for item in items:
        by_shard.setdefault(store.shard_of(item.id), []).append(item)
    accepted = 0
    for shard, group in by_shard.items():
        key_names = [keys.events(shard)]
        arguments: list[scripts.RunArgument] = []
        for item in group:
            key_names.append(keys.once(shard, hashlib.sha256(item.id.encode()).hexdigest()[:32]))
            arguments += (item.id, item.type, "" if item.at is None else item.at, item.about, item.payload)
        answers = await scripts.run(store.redis, "emit", key_names, arguments)
        accepted += sum(1 for answer in answers if answer)
    return accepted

"""A monitor as clients ask for it and see it: seconds and ISO times outside, milliseconds inside. Pure."""

import json
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, StringConstraints, model_validator
from pydantic import BaseModel as Answer

from services.admin.shapes import NO_NUL, Asked, Name, Time
from shared.events import iso
from shared.model import Monitor, Status, check_schedule

MAX_SECONDS = 31_536_000
"""CONTRACT 6: a year."""
MAX_TAGS = 20

Seconds = Annotated[float, Field(ge=1, le=MAX_SECONDS)]
Grace = Annotated[float, Field(ge=0, le=MAX_SECONDS)]
Token = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{3,64}$")]
Slug = Annotated[str, StringConstraints(pattern=r"^([a-z0-9]+([-_][a-z0-9]+)*)?$", max_length=100)]
Schedule = Annotated[str, StringConstraints(max_length=200, strip_whitespace=True)]
Timezone = Annotated[str, StringConstraints(max_length=64, strip_whitespace=True)]
Methods = Literal["", "post"]
Tag = Annotated[str, StringConstraints(min_length=1, max_length=50, strip_whitespace=True), NO_NUL]


def _once_each(tags: list[str]) -> list[str]:
    return list(dict.fromkeys(tags))


Tags = Annotated[list[Tag], Field(max_length=MAX_TAGS), AfterValidator(_once_each)]
ChannelId = Annotated[int, Field(ge=1, le=2**53)]
ChannelIds = Annotated[list[ChannelId], Field(max_length=100)] | Literal["*"]


class MonitorIn(Asked):
    """What a monitor is made from; durations in seconds."""

    name: Name = Field(examples=["api-worker"])
    timeout: Seconds = Field(default=300, description="the silence that is allowed, in seconds")
    grace: Grace = Field(default=0, description="extra slack, in seconds")
    token: Token | None = Field(default=None, description="a token of one's own; absent: a new UUID")
    slug: Slug | None = Field(default=None, description="absent: made from the name; empty: none")
    schedule: Schedule | None = Field(
        default=None, description="cron; replaces the timeout", examples=["*/5 * * * *"]
    )
    timezone: Timezone | None = Field(default=None, description="of the schedule", examples=["Europe/Berlin"])
    methods: Methods | None = Field(default=None, description="`post` ignores heartbeats by GET and HEAD")
    tags: Tags = Field(default_factory=list)
    channels: ChannelIds = Field(default="*", description="who is told: ids, or `*` for every channel")

    @model_validator(mode="after")
    def _fires(self) -> "MonitorIn":
        check_cron(self.schedule or "", self.timezone or "")
        return self


class MonitorPatch(Asked):
    """What is to change: a field left out stays; null puts an optional one back to its default."""

    name: Name = Field(default_factory=str)
    timeout: Seconds = Field(default_factory=float)
    grace: Grace | None = None
    slug: Slug | None = None
    schedule: Schedule | None = None
    timezone: Timezone | None = None
    methods: Methods | None = None
    tags: Tags | None = None
    channels: ChannelIds | None = None


class MonitorOut(Answer):
    """A monitor. Durations in seconds; null where there is none."""

    id: str
    name: str
    slug: str
    status: Status
    timeout: float
    grace: float
    schedule: str | None
    timezone: str | None
    methods: Methods
    tags: list[str]
    channels: list[int] | Literal["*"]
    last_seen: Time | None = Field(description="the last heartbeat")
    status_since: Time
    due_at: Time | None = Field(description="when it becomes dead if it stays silent")
    started_at: Time | None = Field(description="the run that is under way")
    incident_id: str | None = Field(description="the incident that is open")
    muted_until: Time | None = Field(description="nobody is told before")
    created_at: Time


class MonitorMade(MonitorOut):
    """A monitor with its token, which is shown this once."""

    token: str
    heartbeat_url: str


def check_cron(schedule: str, timezone: str) -> None:
    """Raises ValueError with a sentence unless the schedule fires and the time zone exists; both may be empty."""
    check_schedule(schedule or "* * * * *", timezone)


def seconds(ms: int) -> float:
    """Milliseconds as seconds, whole where they are."""
    return ms // 1000 if ms % 1000 == 0 else ms / 1000


def ms(value: float) -> int:
    """Seconds as milliseconds."""
    return round(value * 1000)


def channels_text(channels: list[int] | str) -> str:
    """Channels as stored: "*", ids with commas, or "" for none."""
    return channels if isinstance(channels, str) else ",".join(str(one) for one in dict.fromkeys(channels))


def channels_seen(stored: str) -> list[int] | Literal["*"]:
    """Channels as shown."""
    return "*" if stored == "*" else [int(one) for one in stored.split(",") if one]


def changes(patch: MonitorPatch) -> dict[str, str]:
    """The fields of a patch as stored; "" clears one."""
    fields: dict[str, str] = {}
    for name in patch.model_fields_set:
        value: Any = getattr(patch, name)
        if name in ("timeout", "grace"):
            fields[name] = str(ms(value)) if value else ""
        elif name == "tags":
            fields[name] = json.dumps(value, ensure_ascii=False) if value else ""
        elif name == "channels":
            fields[name] = "*" if value is None else channels_text(value)
        else:
            fields[name] = value or ""
    return fields


def shown(monitor: Monitor, deadline: int | None) -> dict[str, Any]:
    """The fields of `MonitorOut`; `deadline` in ms."""
    return {
        "id": monitor.id,
        "name": monitor.name,
        "slug": monitor.slug,
        "status": monitor.status,
        "timeout": seconds(monitor.timeout),
        "grace": seconds(monitor.grace),
        "schedule": monitor.schedule or None,
        "timezone": monitor.timezone or None,
        "methods": monitor.methods,
        "tags": list(monitor.tags),
        "channels": channels_seen(monitor.channels),
        "last_seen": iso(monitor.seen),
        "status_since": iso(monitor.since),
        "due_at": iso(deadline),
        "started_at": iso(monitor.started),
        "incident_id": monitor.incident,
        "muted_until": iso(monitor.muted),
        "created_at": iso(monitor.created),
    }

"""A channel and its deliveries as clients ask for them and see them. Pure."""

import json
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, Field

from services.admin.shapes import Asked, Name, Time
from shared import channels
from shared.channels import DEFAULT_EVENTS, SECRETS, Channel, Kind, Language
from shared.deliveries import Attempt, Delivery, Status
from shared.delivery_history import TargetStats
from shared.errors import ConfigError
from shared.events import iso
from shared.patterns import check_patterns
from shared.secrets import MASK, SecretBox


def _patterns(patterns: list[str]) -> list[str]:
    return list(check_patterns(patterns))


Patterns = Annotated[list[str], Field(max_length=100), AfterValidator(_patterns)]


class ChannelIn(Asked):
    """A channel to make. What `config` holds depends on the type; null in it is the same as absent."""

    name: Name = Field(examples=["On call"])
    type: Kind
    config: dict[str, Any] = Field(examples=[{"bot_token": "123456:ABC", "chat_id": "-100123"}])
    events: Patterns = Field(
        default=list(DEFAULT_EVENTS), description="types, or patterns such as `monitor.*` and `*`"
    )
    language: Language = "en"
    muted: bool = Field(default=False, description="tells nobody while true")


class ChannelPatch(Asked):
    """What is to change; a field left out stays.

    So does a field left out of `config`, and a secret that is sent as it was shown; null takes a field out of it.
    """

    name: Name = Field(default_factory=str)
    type: Kind | None = Field(default=None, description="cannot change")
    config: dict[str, Any] = Field(default_factory=dict)
    events: Patterns | None = Field(default=None, description="null: the default ones")
    language: Language | None = None
    muted: bool | None = None


class ChannelOut(BaseModel):
    """A channel, its secrets masked, with its counters; deliveries count by their final state."""

    id: int
    name: str
    type: str
    config: dict[str, Any]
    events: list[str]
    language: Language
    muted: bool
    created_at: Time
    updated_at: Time
    success_count: int
    failure_count: int
    pending_count: int
    last_triggered_at: Time | None
    failing_since: Time | None


class DeliveryOut(BaseModel):
    """One event for one channel."""

    id: int
    channel_id: int
    event_id: str
    event_type: str
    incident_id: str | None
    payload: Any
    status: Status
    response_status: int | None
    response_body: str | None
    error_message: str | None
    attempt_number: int
    created_at: Time
    delivered_at: Time | None
    next_retry_at: Time | None
    redelivery_of: int | None
    redelivered_as: int | None


class AttemptOut(BaseModel):
    """One try, numbered from 1; `at` when it ended, duration in seconds."""

    number: int
    at: Time
    duration: float
    response_status: int | None
    response_body: str | None
    error_message: str | None


class DeliveryDetail(DeliveryOut):
    """A delivery with its attempts, oldest first."""

    attempts: list[AttemptOut]


def checked(kind: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """A config as it is kept, secrets open. Raises ValueError with a sentence; a mask is no secret."""
    given = {name: value for name, value in config.items() if value is not None}
    for name in SECRETS[kind]:
        if MASK in str(given.get(name, "")):
            raise ValueError(f"config.{name}: what you sent is the mask that hides it; enter it again.")
    return channels.validate(kind, given)


def merged(channel: Channel, patch: Mapping[str, Any], box: SecretBox) -> dict[str, Any]:
    """A channel's config with a patch, secrets open; an empty or masked secret keeps the stored one."""
    old = opened(channel, box)
    wanted = {
        name: value
        for name, value in patch.items()
        if not (name in SECRETS[channel.type] and value == "" and name in old)
    }
    return checked(channel.type, {**old, **channels.keep_masked(channel.type, wanted, old)})


def opened(channel: Channel, box: SecretBox) -> dict[str, Any]:
    """A channel's config with its secrets; without them when their key is lost, so that they can be entered again."""
    try:
        return channels.unseal(channel, box)
    except ConfigError:
        return {name: value for name, value in channel.config.items() if name not in SECRETS[channel.type]}


def shown(channel: Channel, stats: TargetStats, box: SecretBox) -> ChannelOut:
    """A channel as clients see it."""
    return ChannelOut(
        id=channel.id,
        name=channel.name,
        type=channel.type,
        config=channels.shown(channel, box),
        events=list(channel.events),
        language=channel.language,
        muted=channel.muted,
        created_at=iso(channel.created_at) or "",
        updated_at=iso(channel.updated_at) or "",
        success_count=stats.success_count,
        failure_count=stats.failure_count,
        pending_count=stats.pending,
        last_triggered_at=iso(stats.last_triggered),
        failing_since=iso(stats.failing_since),
    )


def delivery_shown(channel_id: int, delivery: Delivery) -> dict[str, Any]:
    """The fields of `DeliveryOut`."""
    done = delivery.status == "success"
    return {
        "id": delivery.id,
        "channel_id": channel_id,
        "event_id": delivery.event,
        "event_type": delivery.type,
        "incident_id": delivery.incident or None,
        "payload": payload(delivery.payload),
        "status": delivery.shown,
        "response_status": delivery.response_status,
        "response_body": delivery.response_body or None,
        "error_message": delivery.error or None,
        "attempt_number": delivery.attempt,
        "created_at": iso(delivery.created),
        "delivered_at": iso(delivery.finished) if done else None,
        "next_retry_at": iso(delivery.next) if delivery.status == "pending" else None,
        "redelivery_of": delivery.redelivery_of,
        "redelivered_as": delivery.redelivered_as,
    }


def attempt_shown(attempt: Attempt) -> AttemptOut:
    """An attempt as clients see it."""
    return AttemptOut(
        number=attempt.number,
        at=iso(attempt.at) or "",
        duration=attempt.duration_ms / 1000,
        response_status=attempt.status,
        response_body=attempt.body or None,
        error_message=attempt.error or None,
    )


def payload(text: str) -> Any:
    """A stored payload as JSON; lone surrogates, which no answer can carry, become `?`."""
    return json.loads(json.dumps(json.loads(text), ensure_ascii=False).encode("utf-8", "replace"))

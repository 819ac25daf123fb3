"""What the webhooks API is asked and what it answers (CONTRACT 4)."""

import json
from typing import Annotated, Any, Generic, TypeVar

from fastapi import Path, Query, Response
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from services.webhooks.subscription import Webhook
from shared.delivery_history import TargetStats
from shared.events import iso
from shared.patterns import check_patterns
from shared.targets import check_url

MAX_ID = 2**53
"""Greater numbers are no ids; JavaScript could not even hold them."""
MAX_SECRET = 128
MAX_DESCRIPTION = 10_000

Item = TypeVar("Item")

Unset = BeforeValidator(lambda value: None if value == "" else value)
"""A filter that a form sends empty is none."""


def _event_type(value: str) -> str:
    check_patterns([value])
    return value


def _text(text: str) -> str:
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("it must not contain the character NUL or half a surrogate pair")
    return text


Text = Annotated[str, AfterValidator(_text)]
Name = Annotated[Text, StringConstraints(min_length=1, max_length=255)]
Url = Annotated[str, AfterValidator(check_url), Field(json_schema_extra={"format": "uri", "maxLength": 2048})]
EventType = Annotated[
    str,
    AfterValidator(_event_type),
    Field(description="a type such as `monitor.dead`, a prefix such as `monitor.*`, or `*`"),
]
Secret = Annotated[Text, StringConstraints(max_length=MAX_SECRET)]
Description = Annotated[Text, StringConstraints(max_length=MAX_DESCRIPTION)]
Time = Annotated[str, Field(json_schema_extra={"format": "date-time"}, description="ISO 8601 in UTC")]

WebhookId = Annotated[int, Path(ge=1, le=MAX_ID)]
DeliveryId = Annotated[int, Path(ge=1, le=MAX_ID)]
Limit = Annotated[int, Query(ge=1, le=200, description="at most this many")]
Offset = Annotated[int, Query(ge=0, le=10_000_000, description="leave out this many")]


class Asked(BaseModel):
    """A request's body: JSON types as they are; unknown fields, as a whole form sends them, are ignored."""

    model_config = ConfigDict(strict=True, hide_input_in_errors=True)


class WebhookIn(Asked):
    """A webhook to make; an empty secret means none."""

    name: Name
    url: Url
    event_type: EventType
    secret: Secret | None = None
    description: Description | None = None
    is_active: bool = True


class WebhookChange(Asked):
    """What to change: absent fields stay; an empty secret stays too, null removes it."""

    name: Name = ""
    url: Url = ""
    event_type: str | None = Field(default=None, description="accepted when unchanged")
    secret: Secret | None = ""
    description: Description | None = None
    is_active: bool = True


class WebhookOut(BaseModel):
    """A webhook; its secret is never shown. The counts are deliveries by their final state."""

    id: int
    name: str
    url: str
    event_type: str
    is_active: bool
    description: str | None
    created_at: Time
    updated_at: Time
    last_triggered_at: Time | None
    failure_count: int
    success_count: int
    has_secret: bool
    disabled_reason: str | None = Field(description="why it was switched off by itself, else null")


class Listing(BaseModel, Generic[Item]):
    """One page of a list and how long the whole of it is."""

    items: list[Item]
    total: int
    limit: int
    offset: int


def shown(webhook: Webhook, stats: TargetStats) -> WebhookOut:
    """A webhook as clients see it."""
    return WebhookOut(
        id=webhook.id,
        name=webhook.name,
        url=webhook.url,
        event_type=webhook.event_type,
        is_active=webhook.is_active,
        description=webhook.description,
        created_at=iso(webhook.created_at) or "",
        updated_at=iso(webhook.updated_at) or "",
        last_triggered_at=iso(stats.last_triggered),
        failure_count=stats.failure_count,
        success_count=stats.success_count,
        has_secret=bool(webhook.secret),
        disabled_reason=webhook.disabled_reason or None,
    )


def plain(content: Any, status: int = 200) -> Response:
    """An answer with payloads in it: ASCII and by the standard module, so that every number and text survives."""
    return Response(json.dumps(content), status, media_type="application/json")

"""The configuration as `mishpulse export` writes it: one record per thing, defaults left out. Pure."""

from collections import Counter
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from services.admin.monitor_shapes import (
    ChannelIds,
    Grace,
    Methods,
    Schedule,
    Seconds,
    Slug,
    Tags,
    Timezone,
    channels_seen,
    seconds,
)
from services.admin.shapes import Name
from services.admin.status_pages import Description, StatusPage
from services.admin.status_pages import Slug as PageSlug
from services.webhooks.subscription import Webhook
from shared import channels
from shared.auth import ApiToken, Scope
from shared.channels import Channel, Kind, Language
from shared.events import iso
from shared.model import Monitor
from shared.patterns import check_patterns
from shared.secrets import SecretBox
from shared.targets import check_url

FORMAT = 1


def _time(text: str) -> str:
    ms_of(text)
    return text


def _patterns(patterns: list[str]) -> list[str]:
    return list(check_patterns(patterns))


def _pattern(pattern: str) -> str:
    return check_patterns([pattern])[0]


Time = Annotated[str, AfterValidator(_time)]
Hash = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{43}$")]
Id = Annotated[int, Field(ge=1, le=2**53)]


class Record(BaseModel):
    """Strict, and without unknown fields."""

    model_config = ConfigDict(strict=True, extra="forbid", hide_input_in_errors=True)


class MonitorRecord(Record):
    """A monitor; `shop` is the domain whose telemetry beats it."""

    id: Annotated[str, StringConstraints(pattern=r"^[0-9a-z]{1,40}$")]
    name: Name
    token_hash: Hash
    slug: Slug = ""
    timeout: Seconds = 300
    grace: Grace = 0
    schedule: Schedule = ""
    timezone: Timezone = ""
    methods: Methods = ""
    tags: Tags = []
    channels: ChannelIds = "*"
    paused: bool = False
    muted_until: Time | None = None
    shop: str = ""


class ChannelRecord(Record):
    """A channel; the secrets in `config` are sealed, or open where the file says so."""

    id: Id
    name: Name
    type: Kind
    config: dict[str, Any]
    events: Annotated[list[str], AfterValidator(_patterns)]
    language: Language = "en"
    muted: bool = False
    created_at: Time


class WebhookRecord(Record):
    """A webhook; a replaced secret that still signs is not kept."""

    id: Id
    name: Name
    url: Annotated[str, AfterValidator(check_url)]
    event_type: Annotated[str, AfterValidator(_pattern)]
    is_active: bool = True
    description: str | None = None
    secret: str = ""
    disabled_reason: str = ""
    created_at: Time


class TokenRecord(Record):
    """An API token, known by its hash."""

    name: Name
    scopes: Annotated[list[Scope], Field(min_length=1)]
    token_hash: Hash
    created_at: Time


class PageRecord(Record):
    """A public status page."""

    slug: PageSlug
    title: Name
    description: Description = ""
    tags: Tags = []


class Configuration(Record):
    """The whole of it. Lists are in the order of their ids, tokens in that of their making."""

    mishpulse: Literal[1]
    secrets: Literal["sealed", "open"] = "sealed"
    monitors: list[MonitorRecord] = []
    channels: list[ChannelRecord] = []
    webhooks: list[WebhookRecord] = []
    tokens: list[TokenRecord] = []
    status_pages: list[PageRecord] = []

    @model_validator(mode="after")
    def _once_each(self) -> "Configuration":
        for kind, field in (
            *(("monitors", "id"), ("monitors", "token_hash"), ("channels", "id")),
            *(("webhooks", "id"), ("tokens", "token_hash"), ("status_pages", "slug")),
        ):
            count = Counter(getattr(record, field) for record in getattr(self, kind))
            twice = [value for value, times in count.items() if times > 1]
            if twice:
                raise ValueError(f"two {kind} have the {field} {twice[0]}")
        return self


def ms_of(text: str) -> int:
    """Milliseconds of an ISO time with its zone; ValueError for anything else."""
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError("the time must end in Z")
    return round(at.timestamp() * 1000)


def of_monitor(monitor: Monitor, shop: str = "") -> MonitorRecord:
    """A stored monitor's record."""
    return MonitorRecord.model_construct(
        id=monitor.id,
        name=monitor.name,
        token_hash=monitor.token_hash,
        slug=monitor.slug,
        timeout=seconds(monitor.timeout),
        grace=seconds(monitor.grace),
        schedule=monitor.schedule,
        timezone=monitor.timezone,
        methods="post" if monitor.methods == "post" else "",
        tags=list(monitor.tags),
        channels=channels_seen(monitor.channels),
        paused=monitor.status == "paused",
        muted_until=iso(monitor.muted),
        shop=shop,
    )


def of_channel(channel: Channel, box: SecretBox | None) -> ChannelRecord:
    """A stored channel's record, its secrets open where there is a box; ConfigError when one cannot be opened."""
    return ChannelRecord.model_construct(
        id=channel.id,
        name=channel.name,
        type=channel.type,
        config=channels.unseal(channel, box) if box else dict(channel.config),
        events=list(channel.events),
        language=channel.language,
        muted=channel.muted,
        created_at=iso(channel.created_at) or "",
    )


def of_webhook(webhook: Webhook, box: SecretBox | None) -> WebhookRecord:
    """A stored webhook's record, likewise."""
    opened = bool(box and webhook.secret)
    return WebhookRecord.model_construct(
        id=webhook.id,
        name=webhook.name,
        url=webhook.url,
        event_type=webhook.event_type,
        is_active=webhook.is_active,
        description=webhook.description,
        secret=box.open(webhook.secret, secret_place(webhook.id)) if box and opened else webhook.secret,
        disabled_reason=webhook.disabled_reason,
        created_at=iso(webhook.created_at) or "",
    )


def secret_place(webhook_id: int) -> str:
    """The place that a webhook's secret is sealed for, see `services.webhooks.subscription`."""
    return f"webhook:{webhook_id}:secret"


def of_token(token: ApiToken) -> TokenRecord:
    """A stored API token's record."""
    return TokenRecord.model_construct(
        name=token.name,
        scopes=sorted(token.scopes),
        token_hash=token.token_hash,
        created_at=iso(token.created_at) or "",
    )


def of_page(page: StatusPage) -> PageRecord:
    """A stored status page's record."""
    return PageRecord.model_construct(**asdict(page))

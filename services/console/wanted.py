"""What a file for `mishpulse apply` says: channels and monitors as they are to be. Pure."""

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from services.admin.channel_shapes import Patterns
from services.admin.monitor_shapes import (
    Grace,
    Methods,
    Schedule,
    Seconds,
    Slug,
    Tags,
    Timezone,
    Token,
    check_cron,
)
from services.admin.shapes import Name
from services.console.values import duration
from shared import channels
from shared.channels import DEFAULT_EVENTS, Kind, Language
from shared.errors import ConfigError


def _seconds(value: Any) -> Any:
    if isinstance(value, str):
        try:
            return duration(value)
        except ConfigError as error:
            raise ValueError(str(error)) from None
    return value


def _whole_text(value: Any) -> Any:
    if isinstance(value, bool | int | float):
        raise ValueError(f"write it in quotes: YAML reads it as {type(value).__name__}, not as text")  # noqa: TRY004 - pydantic wants ValueError
    return value


Text = BeforeValidator(_whole_text)
Duration = BeforeValidator(_seconds)


class Entry(BaseModel):
    """Strict, and without unknown fields: a typing mistake must not pass for a default."""

    model_config = ConfigDict(strict=True, extra="forbid", hide_input_in_errors=True)


class ChannelEntry(Entry):
    """A channel, known by its name."""

    name: Annotated[Name, Text]
    type: Kind
    config: dict[str, Any]
    events: Patterns = Field(default=list(DEFAULT_EVENTS))
    language: Language = "en"
    muted: bool = False

    @field_validator("config")
    @classmethod
    def _valid(cls, config: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        kind = info.data.get("type")  # absent when it is itself a mistake
        return channels.validate(kind, config) if kind else config


class MonitorEntry(Entry):
    """A monitor, known by its name; `channels` are names of channels. `token` counts when it is made."""

    name: Annotated[Name, Text]
    timeout: Annotated[Seconds, Duration] = 300
    grace: Annotated[Grace, Duration] = 0
    slug: Annotated[Slug, Text] | None = None
    schedule: Annotated[Schedule, Text] = ""
    timezone: Timezone = ""
    methods: Methods = ""
    tags: Tags = Field(default_factory=list)
    channels: list[Annotated[Name, Text]] | Literal["*"] = "*"
    token: Annotated[Token, Text] | None = None
    paused: bool | None = None

    @model_validator(mode="after")
    def _fires(self) -> "MonitorEntry":
        check_cron(self.schedule, self.timezone)
        return self


def _once(entries: list[Any]) -> list[Any]:
    names = [entry.name for entry in entries]
    twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if twice:
        raise ValueError(f"two entries have the name {twice[0]!r}; a name says which one is meant")
    return entries


class Wanted(BaseModel):
    """The whole file. Without `channels`, or without `monitors`, those of the server are left alone."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    channels: Annotated[list[ChannelEntry], AfterValidator(_once)] | None = None
    monitors: Annotated[list[MonitorEntry], AfterValidator(_once)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _without_anchors(cls, content: Any) -> Any:
        """Fields that begin with `x-` are room for YAML anchors."""
        if content is None:
            return {}
        if not isinstance(content, dict):
            raise ValueError("the file must say `monitors:` or `channels:`")  # noqa: TRY004 - pydantic wants ValueError
        return {name: value for name, value in content.items() if not name.startswith("x-")}

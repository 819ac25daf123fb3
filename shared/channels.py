"""Channels as they are configured, stored and shown; how each one tells people is the notifier's matter.
Pure.

A channel is stored as JSON with every secret of its config sealed (`shared.secrets`) for its own place. To
add a kind: a model here and in CONFIGS, its secret fields in SECRETS, and a module in
`services/notifier/channels`.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, get_args
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from shared.errors import ConfigError
from shared.secrets import MASK, SecretBox, mask
from shared.smtp import parse_smtp_url
from shared.targets import check_host, check_url

Language = Literal["en", "ru"]
Kind = Literal["telegram", "email", "webhook", "apprise"]
KINDS: tuple[Kind, ...] = get_args(Kind)
DEFAULT_EVENTS = ("monitor.dead", "monitor.error", "monitor.recovered")
TEST_EVENT = "channel.test"
"""The type of a test's delivery: the admin creates it, the notifier words it and tries it once."""

_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@([^@\s]{1,253})")
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_HEADER_VALUE = re.compile(r"[\x21-\x7e]([\x20-\x7e]{0,1998}[\x21-\x7e])?")

RESERVED_HEADERS = frozenset(
    {
        "accept-encoding",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "expect",
        "host",
        "keep-alive",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "webhook-id",
        "webhook-signature",
        "webhook-timestamp",
        "x-webhook-event",
        "x-webhook-id",
        "x-webhook-signature",
    }
)
"""Headers that a webhook channel may not set: they frame the request or are ours."""


def _api_base(url: str) -> str:
    check_url(url)
    if "?" in url or "#" in url:
        raise ValueError("The URL must have no query or fragment.")
    return url.rstrip("/")


def _address(address: str) -> str:
    """The address with its domain in ASCII."""
    found = _ADDRESS.fullmatch(address.strip())
    if found is None or len(address) > 254:
        raise ValueError("An email address must look like someone@example.org.")
    domain = check_host(found[1]).encode("idna").decode()
    return f"{address.strip()[: -len(found[1])]}{domain}"


def _smtp_url(url: str) -> str:
    parse_smtp_url(url)
    return url


def _headers(headers: dict[str, str]) -> dict[str, str]:
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name):
            raise ValueError(f"{name[:60]!r} is no valid header name.")
        if name.lower() in RESERVED_HEADERS:
            raise ValueError(f"The header {name} is set by MishPulse.")
        if value and not _HEADER_VALUE.fullmatch(value):
            raise ValueError(
                f"The value of the header {name} must be printable ASCII, at most 2,000 characters."
            )
    if len({name.lower() for name in headers}) != len(headers):
        raise ValueError("A header is named twice.")
    return headers


def _listed(value: Any) -> Any:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _number_as_text(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _apprise_url(url: str) -> str:
    if not re.match(r"[A-Za-z][A-Za-z0-9+.-]{0,30}://", url) or re.search(r"[\x00-\x20\x7f]", url):
        raise ValueError("An Apprise URL must look like service://… and contain no spaces.")
    return url


Url = Annotated[str, AfterValidator(check_url)]
Address = Annotated[str, AfterValidator(_address)]


class Config(BaseModel):
    """What every kind's config has in common; unknown fields are errors, so that no typing mistake is
    kept.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, populate_by_name=True)


class TelegramConfig(Config):
    """A bot and the chat it writes to."""

    bot_token: str = Field(pattern=r"^[A-Za-z0-9:_-]{3,200}$", repr=False)
    chat_id: Annotated[str, BeforeValidator(_number_as_text)] = Field(
        pattern=r"^(-?[0-9]{1,20}|@?[A-Za-z0-9_]{1,64})$"
    )
    api_base: Annotated[str, AfterValidator(_api_base)] = "https://api.telegram.org"


class EmailConfig(Config):
    """Whom to write to; `smtp_url` and `from` replace PULSE_SMTP_URL and PULSE_SMTP_FROM."""

    to: Annotated[tuple[Address, ...], BeforeValidator(_listed)] = Field(min_length=1, max_length=50)
    smtp_url: Annotated[str, AfterValidator(_smtp_url)] | None = Field(None, repr=False)
    sender: Address | None = Field(None, alias="from")


class WebhookConfig(Config):
    """Where to post to, signed with `secret` when there is one."""

    url: Url
    secret: str | None = Field(None, max_length=128, repr=False)
    headers: Annotated[dict[str, str], AfterValidator(_headers)] = Field({}, max_length=20, repr=False)


class AppriseConfig(Config):
    """One URL of the many that Apprise knows."""

    url: Annotated[str, AfterValidator(_apprise_url)] = Field(min_length=4, max_length=2048, repr=False)


CONFIGS: Mapping[str, type[Config]] = {
    "telegram": TelegramConfig,
    "email": EmailConfig,
    "webhook": WebhookConfig,
    "apprise": AppriseConfig,
}

SECRETS: Mapping[str, tuple[str, ...]] = {
    "telegram": ("bot_token",),
    "email": ("smtp_url",),
    "webhook": ("secret", "headers"),
    "apprise": ("url",),
}
"""Config fields that are sealed at rest and masked when shown; of a mapping, each of its values."""


@dataclass(frozen=True, slots=True)
class Channel:
    """Where people are told. `config` keeps its secrets sealed; times in ms."""

    id: int
    name: str
    type: str
    config: Mapping[str, Any] = field(repr=False)
    events: tuple[str, ...] = DEFAULT_EVENTS
    language: Language = "en"
    muted: bool = False
    created_at: int = 0
    updated_at: int = 0

    @property
    def target(self) -> str:
        """The name that deliveries and events know it by."""
        return f"channel:{self.id}"


def validate(kind: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """The config as it is kept, before sealing; raises ValueError with a sentence for each thing that is
    wrong.

    The sentences name fields, never their values.
    """
    return _parse(kind, config).model_dump(by_alias=True, exclude_none=True, mode="json")


def _parse(kind: str, config: Mapping[str, Any]) -> Config:
    model = CONFIGS.get(kind)
    if model is None:
        raise ValueError(f"type must be one of {', '.join(CONFIGS)}.")
    try:
        return model.model_validate(dict(config))
    except ValidationError as error:
        raise ValueError(" ".join(_sentence(item) for item in error.errors(include_url=False))) from None


def _sentence(item: Any) -> str:
    where = ".".join(("config", *(str(part) for part in item["loc"])))
    words = str(item["msg"]).removeprefix("Value error, ").rstrip(".")
    if item["type"] == "string_pattern_mismatch":
        words = "it has characters or a length that it cannot have"
    return f"{where}: {words}."


def seal(kind: str, config: Mapping[str, Any], channel_id: int, box: SecretBox) -> dict[str, Any]:
    """The config for storage; each secret only opens in this channel's field of that name."""
    return _each_secret(kind, config, lambda name, value: box.seal(value, f"channel:{channel_id}:{name}"))


def unseal(channel: Channel, box: SecretBox) -> dict[str, Any]:
    """The config with its secrets; raises ConfigError when one cannot be opened."""
    return _each_secret(
        channel.type, channel.config, lambda name, value: box.open(value, f"{channel.target}:{name}")
    )


def config_of(channel: Channel, box: SecretBox) -> Config:
    """The opened config as its model, for sending; raises ConfigError when it cannot be opened or is not
    valid.
    """
    try:
        return _parse(channel.type, unseal(channel, box))
    except ValueError as error:
        raise ConfigError(f"Channel {channel.id}: {error}") from None


def masked(kind: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """The opened config as the API shows it."""
    return _each_secret(kind, config, _shown)


def shown(channel: Channel, box: SecretBox) -> dict[str, Any]:
    """`masked` for a stored channel; a secret that cannot be opened shows as a mask alone."""
    try:
        return masked(channel.type, unseal(channel, box))
    except ConfigError:
        return _each_secret(channel.type, channel.config, lambda _, __: MASK)


def keep_masked(kind: str, new: Mapping[str, Any], old: Mapping[str, Any]) -> dict[str, Any]:
    """`new` with every secret that came back masked, as a form sends it, replaced by the one in `old`
    (opened).
    """
    before, visible = _secrets(kind, old), _secrets(kind, masked(kind, old))
    return _each_secret(
        kind, new, lambda name, value: before[name] if name in before and value == visible[name] else value
    )


def dumps(channel: Channel) -> str:
    """The JSON that is stored under `keys.CHANNELS`."""
    record = {name: getattr(channel, name) for name in Channel.__slots__ if name != "id"}
    return json.dumps(record)


def loads(channel_id: int | str, text: str) -> Channel:
    """The channel of a stored record; unknown fields, from a newer version, are left out."""
    record = {name: value for name, value in json.loads(text).items() if name in Channel.__slots__}
    return Channel(**{**record, "id": int(channel_id), "events": tuple(record["events"])})


def _each_secret(kind: str, config: Mapping[str, Any], change: Callable[[str, str], str]) -> dict[str, Any]:
    """A copy of `config` with `change(place, value)` for each of its secrets."""
    result = dict(config)
    for name in SECRETS[kind]:
        value = result.get(name)
        if isinstance(value, str) and value:
            result[name] = change(name, value)
        elif isinstance(value, Mapping):
            result[name] = {key: change(f"{name}.{key}", str(each)) for key, each in value.items()}
    return result


def _secrets(kind: str, config: Mapping[str, Any]) -> dict[str, str]:
    found: dict[str, str] = {}

    def note(name: str, value: str) -> str:
        found[name] = value
        return value

    _each_secret(kind, config, note)
    return found


def _shown(name: str, value: str) -> str:
    if name == "smtp_url":
        password = urlsplit(value).netloc.rpartition("@")[0].partition(":")[2]
        return value.replace(f":{password}@", f":{MASK}@", 1) if password else value
    if name == "url":
        return f"{value.partition('://')[0]}://{MASK}"
    return mask(value)

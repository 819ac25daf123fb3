"""Every setting, read from `PULSE_…` environment variables; `deploy/env.example` lists them with comments."""

import ipaddress
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import Field, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from shared import addresses
from shared.errors import ConfigError
from shared.targets import check_url

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
List = Annotated[tuple[str, ...], NoDecode]
Networks = Annotated[tuple[Network, ...], NoDecode]


def _split(value: Any) -> Any:
    """A comma-separated setting as a tuple; empty parts are dropped."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


class Settings(BaseSettings):
    """The settings of one process. Durations are seconds."""

    model_config = SettingsConfigDict(env_prefix="PULSE_", frozen=True, extra="ignore", env_ignore_empty=True)

    redis_url: str = Field(
        default="redis://127.0.0.1:6379/0",
        description="the Redis or Valkey server; redis+sentinel:// and redis+cluster:// name several",
    )
    queue_redis_url: str = Field(
        default="",
        description="where arq's queue lives; empty: in redis_url, which must not be a cluster then",
        validate_default=True,
    )
    shards: int | None = Field(
        default=None,
        ge=1,
        le=1024,
        description="logical shards, fixed when data is first written; empty: the data's, at first 1 (cluster: 64)",
    )
    admin_token: str = Field(default="", description="the admin token; empty: one is made on first start")
    public_url: str = Field(default="", description="the outside address, used in every link")
    public_status: bool = Field(default=True, description="whether GET /api/status needs no token")
    cors_origins: List = Field(default=(), description="origins of admin front ends, comma-separated")
    trusted_proxies: Networks = Field(
        default=(ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128")),
        description="CIDRs of proxies whose X-Forwarded-For is believed",
    )

    heartbeat_secret: str = Field(default="", description="signs POST /heartbeat; empty: 503")
    signature_headers: List = Field(
        default=("X-Pulse-Signature",), description="headers that may carry a signature"
    )
    version_headers: List = Field(
        default=("X-TELECART-VERSION", "X-MEGAPAY-VERSION"),
        description="headers that may carry a module version",
    )
    api_key: str = Field(default="", description="signs POST /events; empty: tokens only")
    telemetry_timeout: float = Field(
        default=26 * 3600, ge=1, le=31_536_000, description="silence allowed to a shop"
    )
    telemetry_max: int = Field(default=10_000, ge=0, description="shops that may register by themselves")

    blind_after: float = Field(default=10, ge=2, description="a gap in listening above this is told")
    sweep_interval: float = Field(default=0.1, ge=0.01, le=3600, description="the longest sleep of the sweep")
    expiry_hints: bool = Field(default=True, description="whether the watchdog listens to expiry events")

    max_sends: int = Field(
        default=0, ge=0, description="messages under way per worker process; 0: by its limit of open files"
    )
    smtp_url: str = Field(default="", description="smtp:// or smtps:// server for channels that name none")
    smtp_from: str = Field(default="MishPulse <mishpulse@localhost>", description="sender of e-mails")
    allow_private_targets: Networks = Field(
        default=(), description="private CIDRs that outgoing requests may reach, comma-separated"
    )
    secret_key: str = Field(
        default="", description="encrypts stored secrets; several, newest first, to rotate"
    )
    secret_key_file: str = Field(default="", description="file with that key; made on first start")

    self_ping_url: str = Field(
        default="", description="asked by GET when a synthetic monitor went all the way; empty: no self-ping"
    )
    self_ping_interval: float = Field(
        default=30, ge=3, le=3600, description="from one such round to the next"
    )

    collector_url: str = Field(
        default="http://127.0.0.1:8001", description="where the pages and the self-ping reach the collector"
    )
    webhooks_url: str = Field(default="http://127.0.0.1:8002", description="where they reach the webhooks")

    ws_max_clients: int = Field(default=1000, ge=0, description="live clients per process")
    metrics_port: int = Field(
        default=0, ge=0, le=65535, description="port of /metrics and health checks; 0: none"
    )
    metrics_host: str = Field(default="127.0.0.1", description="address of that port")
    log_level: str = Field(default="info", description="debug, info, warning or error")

    _lists = field_validator(
        "cors_origins",
        "signature_headers",
        "version_headers",
        "trusted_proxies",
        "allow_private_targets",
        mode="before",
    )(_split)

    @field_validator("redis_url")
    @classmethod
    def _redis_url(cls, value: str) -> str:
        addresses.parse(value)
        return value

    @field_validator("queue_redis_url")
    @classmethod
    def _queue_redis_url(cls, value: str, known: ValidationInfo) -> str:
        if value and addresses.parse(value).kind == "cluster":
            raise ValueError("must not be a cluster: arq needs one server, or one primary with its sentinels")
        data = known.data.get("redis_url", "")
        if not value and data and addresses.parse(data).kind == "cluster":
            raise ValueError("must name a Redis of its own, because PULSE_REDIS_URL is a cluster")
        return value

    @field_validator("public_url", "collector_url", "webhooks_url")
    @classmethod
    def _http_url(cls, value: str) -> str:
        if value and (urlsplit(value).scheme not in ("http", "https") or not urlsplit(value).hostname):
            raise ValueError("must be an http:// or https:// URL")
        return value.rstrip("/")

    @field_validator("self_ping_url")
    @classmethod
    def _outside(cls, value: str) -> str:
        return check_url(value) if value else value

    @field_validator("log_level")
    @classmethod
    def _level(cls, value: str) -> str:
        if value.lower() not in ("debug", "info", "warning", "error"):
            raise ValueError("must be debug, info, warning or error")
        return value.lower()

    @property
    def queue_url(self) -> str:
        """Where arq's queue lives."""
        return self.queue_redis_url or self.redis_url


def load(**overrides: Any) -> Settings:
    """The settings of this process, `overrides` before the environment.

    Raises ConfigError with one line per bad setting, each by its environment name.
    """
    try:
        return Settings(**overrides)
    except ValidationError as error:
        lines = [
            f"PULSE_{str(problem['loc'][0]).upper()}: {problem['msg'].removeprefix('Value error, ')}"
            for problem in error.errors()
        ]
        raise ConfigError("\n".join(dict.fromkeys(lines))) from None

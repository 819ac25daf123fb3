"""Where the server is that a verb is about: a URL with a token, or the Redis itself. Pure but for looking at files."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from shared.errors import ConfigError

DEFAULT_URL: Final = "http://127.0.0.1:8080"
DEFAULT_DATA: Final = Path("data")

NOWHERE: Final = (
    "which server? Give --url and --token (PULSE_URL, PULSE_ADMIN_TOKEN), or --data with the data folder of a running "
    "`mishpulse up`, or set PULSE_REDIS_URL"
)


@dataclass(frozen=True, slots=True)
class Remote:
    """A server reached by HTTP."""

    url: str
    token: str


@dataclass(frozen=True, slots=True)
class Direct:
    """A server reached through its Redis. `redis_url` and `key_file` are empty where the settings name them."""

    redis_url: str = ""
    key_file: Path | None = None
    public_url: str = ""


Place = Remote | Direct


def find(url: str, token: str, data: Path | None, environment: Mapping[str, str] | None = None) -> Place:
    """The server meant; ConfigError when nothing says which.

    1. `--data`: the Redis of the `mishpulse up` that runs on this folder.
    2. `--url` or PULSE_URL: HTTP, with `--token` or PULSE_ADMIN_TOKEN.
    3. PULSE_REDIS_URL: that Redis, as in a container of ours.
    4. `./data` of a running `mishpulse up`, as beside `make run`.
    5. A token alone: HTTP on this machine's port 8080.
    """
    known = os.environ if environment is None else environment
    token = token or known.get("PULSE_ADMIN_TOKEN", "")
    url = url or ("" if data else known.get("PULSE_URL", ""))
    if data is not None:
        return of_folder(data)
    if url:
        return Remote(_checked(url), token)
    if known.get("PULSE_REDIS_URL"):
        return Direct()
    if (DEFAULT_DATA / "run" / "where").exists():
        return of_folder(DEFAULT_DATA)
    if token:
        return Remote(DEFAULT_URL, token)
    raise ConfigError(NOWHERE)


def find_redis(data: Path | None, environment: Mapping[str, str] | None = None) -> Direct:
    """The Redis meant by a verb that needs it itself; PULSE_URL counts for nothing here."""
    known = os.environ if environment is None else environment
    if data is not None:
        return of_folder(data)
    if known.get("PULSE_REDIS_URL"):
        return Direct()
    if (DEFAULT_DATA / "run" / "where").exists():
        return of_folder(DEFAULT_DATA)
    raise ConfigError(
        "which Redis? Give --data with the data folder of a running `mishpulse up`, or set PULSE_REDIS_URL"
    )


def of_folder(data: Path) -> Direct:
    """The server that runs on a data folder; ConfigError when none does."""
    try:
        redis_url, public_url = (data / "run" / "where").read_text().splitlines()
    except (FileNotFoundError, NotADirectoryError):
        raise ConfigError(f"no `mishpulse up` runs on {data}: start one, or name another folder") from None
    except (OSError, ValueError):
        raise ConfigError(f"{data}/run/where cannot be read: run this as the user who started it") from None
    return Direct(redis_url, data.absolute() / "secret.key", public_url)


def _checked(url: str) -> str:
    if not url.startswith(("http://", "https://")):
        raise ConfigError(f"{url!r} is no URL of a server: it must begin with http:// or https://")
    return url.rstrip("/")

"""What may come from the environment, and what holds without it."""

from __future__ import annotations

import math
import os

TYPE_CHECKING = False  # see __init__
if TYPE_CHECKING:
    from typing import Any

DEFAULT_URL = "http://127.0.0.1:8080"
DEFAULT_TIMEOUT = 2.0  # seconds: long enough for a distant server, short enough for a web page


def base_url(given: str | None = None) -> str:
    """The server's address without a slash at its end: the given one, `PULSE_API_HOST`, or this machine.

    An address without a scheme means https, on this machine http.
    """
    url = str(given or os.environ.get("PULSE_API_HOST") or DEFAULT_URL).strip().rstrip("/")
    if "://" in url:
        return url
    local = url.startswith(("127.", "localhost", "[::1]"))
    return f"{'http' if local else 'https'}://{url}"


def token(given: str | None = None) -> str:
    """The monitor's token: the given one or `PULSE_TOKEN`."""
    return str(given or os.environ.get("PULSE_TOKEN") or "").strip()


def timeout(given: float | None = None) -> float:
    """Seconds that one call may take: the given ones, `PULSE_TIMEOUT`, or 2; nonsense counts as not given."""
    for value in (given, os.environ.get("PULSE_TIMEOUT")):
        try:
            seconds = float(value)  # type: ignore[arg-type]  # None is one of the errors caught below
        except (TypeError, ValueError, OverflowError):
            continue
        if math.isfinite(seconds) and seconds > 0:
            return seconds
    return DEFAULT_TIMEOUT


def heartbeat_secret(given: str | None = None, config: Any = None) -> str:
    """The secret that signs telemetry: given, the config's `pulse.heartbeat_secret`, or the environment's."""
    found = given or _at_path(config, "pulse.heartbeat_secret") or os.environ.get("PULSE_HEARTBEAT_SECRET")
    return str(found or "")


def _at_path(config: Any, path: str) -> Any:
    """The value at a dotted path of nested attributes or mappings, or under the whole path as one key."""
    if config is None:
        return None
    if hasattr(config, "get"):
        whole = config.get(path)
        if whole:
            return whole
    value = config
    for name in path.split("."):
        value = value.get(name) if hasattr(value, "get") else getattr(value, name, None)
        if value is None:
            return None
    return value

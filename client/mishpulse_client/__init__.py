"""The client of MishPulse: nothing here raises into the program that it watches, or holds it up for long.

Names are imported when first used, so that the `pulse` command pays only for what it runs.
"""

from __future__ import annotations

__version__ = "0.1.0"

TYPE_CHECKING = False  # importing typing for its flag would cost `pulse run` milliseconds
if TYPE_CHECKING:
    from .background import Background
    from .beats import AsyncPulse, Pulse
    from .cache import Cache, FileCache
    from .counts import Counts
    from .endpoints import asgi, wsgi
    from .events import AsyncEvents, Events
    from .telemetry import Telemetry
    from .watched import heartbeat

_HOMES = {
    "AsyncEvents": "events",
    "AsyncPulse": "beats",
    "Background": "background",
    "Cache": "cache",
    "Counts": "counts",
    "Events": "events",
    "FileCache": "cache",
    "Pulse": "beats",
    "Telemetry": "telemetry",
    "asgi": "endpoints",
    "heartbeat": "watched",
    "wsgi": "endpoints",
}

__all__ = [
    "AsyncEvents",
    "AsyncPulse",
    "Background",
    "Cache",
    "Counts",
    "Events",
    "FileCache",
    "Pulse",
    "Telemetry",
    "asgi",
    "heartbeat",
    "wsgi",
]


def __getattr__(name: str) -> object:
    """Import a public name at its first use (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value: object = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value

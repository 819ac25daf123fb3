"""Asking the other HTTP services by their public API, in the name of whoever is signed in.

Under `mishpulse up` they are apps of the same process and asked without a socket; elsewhere PULSE_COLLECTOR_URL and
PULSE_WEBHOOKS_URL say where they are.
"""

from collections.abc import Mapping
from typing import Any, Final

import httpx
import structlog
from starlette.requests import Request
from starlette.types import ASGIApp

from shared import sessions
from shared.routes import service_of
from shared.sessions import Session
from shared.settings import Settings

PATIENCE_S: Final = 20.0
"""A webhook's test waits for its receiver."""
AWAY: Final = 503

log = structlog.get_logger(__name__)


async def ask(
    request: Request, session: Session, method: str, path: str, *, query: Any = None, body: Any = None
) -> httpx.Response:
    """The answer of the service that owns `path`; 503 with a sentence when it cannot be reached."""
    name = service_of(path) or ""
    apps: Mapping[str, ASGIApp] = getattr(request.app.state, "neighbours", {})
    headers = {
        "Cookie": f"{sessions.COOKIE}={request.cookies.get(sessions.COOKIE, '')}",
        sessions.CSRF_HEADER: session.csrf,
    }
    inside = apps.get(name)
    transport = httpx.ASGITransport(inside, raise_app_exceptions=False) if inside else None
    base = "http://inside" if inside else _url(request.app.state.settings, name)
    try:
        async with httpx.AsyncClient(
            transport=transport, base_url=base, headers=headers, timeout=PATIENCE_S, trust_env=False
        ) as client:
            return await client.request(method, path, params=query, json=body)
    except httpx.TransportError as error:
        log.warning("neighbour.away", service=name, error=repr(error))
        return httpx.Response(AWAY, json={"detail": f"the service {name} does not answer; try again"})


def _url(settings: Settings, name: str) -> str:
    return settings.collector_url if name == "collector" else settings.webhooks_url

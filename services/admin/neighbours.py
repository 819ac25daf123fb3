"""Asking the other HTTP services by their public API, in the name of whoever is signed in.

Under `mishpulse up` they are apps of the same process and asked without a socket; elsewhere PULSE_COLLECTOR_URL and
PULSE_WEBHOOKS_URL say where they are.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
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


@dataclass
class Neighbours:
    """The other services: `apps` are those of this process, `clients` the connections to them."""

    settings: Settings
    apps: Mapping[str, ASGIApp] = field(default_factory=dict)
    clients: dict[str, httpx.AsyncClient] = field(default_factory=dict)

    def client(self, service: str) -> httpx.AsyncClient:
        """A client of one service, kept for the next question."""
        if service not in self.clients:
            inside = self.apps.get(service)
            transport = httpx.ASGITransport(inside, raise_app_exceptions=False) if inside else None
            base = "http://inside" if inside else self._url(service)
            self.clients[service] = httpx.AsyncClient(
                transport=transport, base_url=base, timeout=PATIENCE_S, trust_env=False
            )
        return self.clients[service]

    def _url(self, service: str) -> str:
        return self.settings.collector_url if service == "collector" else self.settings.webhooks_url

    async def aclose(self) -> None:
        """Closes what was opened."""
        for client in self.clients.values():
            await client.aclose()
        self.clients.clear()


async def ask(
    request: Request, session: Session, method: str, path: str, *, query: Any = None, body: Any = None
) -> httpx.Response:
    """The answer of the service that owns `path`; 503 with a sentence when it cannot be reached."""
    service = service_of(path) or ""
    neighbours: Neighbours = request.app.state.neighbours
    headers = {
        "Cookie": f"{sessions.COOKIE}={request.cookies.get(sessions.COOKIE, '')}",
        sessions.CSRF_HEADER: session.csrf,
    }
    try:
        return await neighbours.client(service).request(
            method, path, params=query, json=body, headers=headers
        )
    except httpx.TransportError as error:
        log.warning("neighbour.away", service=service, error=repr(error))
        return httpx.Response(AWAY, json={"detail": f"the service {service} does not answer; try again"})

"""The HTTP services as one ASGI app on one port: what the edge proxy is in Compose."""

import contextlib
from importlib import import_module
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from shared import routes
from shared.connection import Store
from shared.health import PATHS, Health
from shared.settings import Settings

SERVICES = (*routes.ROUTES, routes.REST)

BEATS = "/api/heartbeat/"
"""Asked first: nearly every request is a heartbeat."""


class Composite:
    """Sends each request to the service that `shared.routes` names, and answers health and metrics itself."""

    def __init__(self, services: dict[str, Any], health: ASGIApp) -> None:
        self._services = services
        self._collector: ASGIApp = services["collector"]
        self.protocol = services["collector"].protocol
        self.opened = services["collector"].opened
        self.closing = services["collector"].closing
        self._rest: ASGIApp = services[routes.REST]
        self._exact: dict[str, ASGIApp] = dict.fromkeys(PATHS, health)
        self._prefixes: list[tuple[tuple[str, ...], ASGIApp]] = []
        for service, patterns in routes.ROUTES.items():
            app: ASGIApp = services[service]
            self._exact |= {pattern: app for pattern in patterns if not pattern.endswith("*")}
            prefixes = tuple(pattern[:-1] for pattern in patterns if pattern.endswith("*"))
            self._prefixes.append((prefixes, app))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI entry."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        path: str = scope["path"]
        if path.startswith(BEATS):
            await self._collector(scope, receive, send)
        else:
            await self.app_of(path)(scope, receive, send)

    def app_of(self, path: str) -> ASGIApp:
        """The app that answers `path`."""
        app = self._exact.get(path)
        if app is not None:
            return app
        for prefixes, candidate in self._prefixes:
            if path.startswith(prefixes):
                return candidate
        return self._rest

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        """Enters every service's lifespan, and leaves them in the other order."""
        await receive()
        async with contextlib.AsyncExitStack() as stack:
            for app in self._services.values():
                await stack.enter_async_context(app.router.lifespan_context(app))
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})


def create_composite(store: Store, settings: Settings) -> Composite:
    """All HTTP services over one store."""
    services = {name: import_module(f"services.{name}.app").create_app(store, settings) for name in SERVICES}
    services[routes.REST].state.neighbours.apps = services
    return Composite(services, Health(store.redis))

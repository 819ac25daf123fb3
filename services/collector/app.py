"""The collector's ASGI app: hot paths first, FastAPI for the rest."""

import contextlib
import functools
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

from fastapi import FastAPI
from starlette.types import Receive, Scope, Send

from services.collector import documentation, events, fleet, heartbeats, shops, status, telemetry
from services.collector.dialects import Answer, Dialect
from services.collector.dialects.bearer import BearerDialect
from services.collector.dialects.ping import PingDialect
from services.collector.dialects.push import PushDialect
from services.collector.dialects.run import RunDialect
from services.collector.heartbeats import Heartbeats
from services.collector.listening import Listening
from services.collector.protocol import HeartbeatProtocol
from shared import web
from shared.connection import Store
from shared.settings import Settings

DIALECTS: Final[tuple[type[Dialect], ...]] = (PingDialect, PushDialect, BearerDialect, RunDialect)


class Collector:
    """Sends the paths of heartbeats straight to their handlers and everything else to FastAPI."""

    def __init__(
        self, api: FastAPI, beats: Heartbeats, listening: Listening, store: Store, settings: Settings
    ) -> None:
        self.api = api
        self.router = api.router
        self.protocol = functools.partial(HeartbeatProtocol, beats)
        self.opened = listening.open
        self.closing = listening.close
        self.settings = settings
        self.plain: dict[str, Callable[[Scope, Receive], Awaitable[Answer]]] = {
            heartbeats.PREFIX: beats.respond
        }
        for dialect in DIALECTS:
            self.plain[dialect.PREFIX] = dialect(store, settings, beats).respond

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one connection."""
        if scope["type"] == "http":
            path = scope["path"]
            for prefix, respond in self.plain.items():
                if path.startswith(prefix):
                    start, body = await respond(scope, receive)
                    await send(start)
                    await send(body)
                    return
        await self.api(scope, receive, send)

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document of every route, plain ASGI or not."""
        return documentation.document(self.api, self.settings)


def create_app(store: Store, settings: Settings) -> Collector:
    """The collector; it stamps that it listens from `opened` until `closing` is called or its lifespan ends."""
    beats = Heartbeats(store, settings)
    listening = Listening(store, settings, beats)

    @contextlib.asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with listening:
            yield
        await beats.close()

    api = web.create_api("MishPulse collector", store, settings, lifespan)
    api.state.beats = beats
    for router in (events.routes(), telemetry.routes(), shops.routes()):
        api.include_router(router)
    for readable in (fleet, status):
        api.include_router(readable.routes(settings))
    return Collector(api, beats, listening, store, settings)

"""The collector's ASGI app: hot paths first, FastAPI for the rest."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from fastapi import FastAPI
from starlette.types import Receive, Scope, Send

from services.collector import heartbeats
from services.collector.heartbeats import Heartbeats
from services.collector.listening import keep_stamping
from shared import web
from shared.connection import Store
from shared.settings import Settings


class Collector:
    """Sends `/api/heartbeat/…` straight to its handler and everything else to FastAPI."""

    def __init__(self, api: FastAPI, beats: Heartbeats) -> None:
        self.api = api
        self.router = api.router
        self.beats = beats

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one connection."""
        if scope["type"] == "http" and scope["path"].startswith(heartbeats.PREFIX):
            await self.beats(scope, receive, send)
        else:
            await self.api(scope, receive, send)


def create_app(store: Store, settings: Settings) -> Collector:
    """The collector; while its lifespan lasts it stamps that it listens."""
    beats = Heartbeats(store, settings)

    @contextlib.asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        stamping = asyncio.create_task(keep_stamping(store, settings))
        yield
        stamping.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await stamping
        await beats.close()

    api = web.create_api("MishPulse collector", store, settings, lifespan)
    api.state.beats = beats
    return Collector(api, beats)

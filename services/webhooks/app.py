"""The webhooks service's ASGI app: the API of webhooks, and `/ws` beside it."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from fastapi import FastAPI
from starlette.types import Receive, Scope, Send

from services.webhooks import events_api, history, subscriptions_api, tickets
from services.webhooks.guests import signed_in
from services.webhooks.keyring import open_box
from services.webhooks.live import Live
from services.webhooks.subscriptions import Webhooks
from shared import queue
from shared.body_limit import BodyLimit
from shared.connection import Store
from shared.settings import Settings
from shared.web import create_api

LIVE_PATH = "/ws"


class WebhooksApp:
    """Sends WebSockets of `/ws` straight to their endpoint and everything else to FastAPI."""

    def __init__(self, api: FastAPI, live: Live) -> None:
        self.api = api
        self.live = live
        self.router = api.router

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one connection."""
        if scope["type"] == "websocket" and scope["path"] == LIVE_PATH:
            await self.live(scope, receive, send)
        else:
            await self.api(scope, receive, send)

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document of every route, the WebSocket included."""
        return self.api.openapi()


def create_app(store: Store, settings: Settings) -> WebhooksApp:
    """The webhooks service; ConfigError when there is no key for the webhooks' secrets."""
    live = Live(store, settings, signed_in(settings.admin_token))

    @contextlib.asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with live.hub.running():
            yield
        with contextlib.suppress(Exception):
            await api.state.hints.aclose(close_connection_pool=True)

    api = create_api("MishPulse webhooks", store, settings, lifespan)
    api.state.box = open_box(settings)
    api.state.webhooks = Webhooks(store)
    api.state.hints = queue.open_queue(settings.queue_url, "webhook")
    api.add_middleware(BodyLimit)
    for resource in (subscriptions_api, history, events_api, tickets):
        api.include_router(resource.router)
    return WebhooksApp(api, live)

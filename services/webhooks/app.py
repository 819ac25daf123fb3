"""The webhooks service's ASGI app: the API of webhooks, and `/ws` beside it."""

import contextlib
from collections.abc import AsyncIterator

from fastapi import FastAPI

from services.webhooks import events_api, history, subscriptions_api
from services.webhooks.keyring import open_box
from services.webhooks.subscriptions import Webhooks
from shared.connection import Store
from shared.settings import Settings
from shared.web import create_api


def create_app(store: Store, settings: Settings) -> FastAPI:
    """The webhooks service; ConfigError when there is no key for the webhooks' secrets."""

    @contextlib.asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield

    api = create_api("MishPulse webhooks", store, settings, lifespan)
    api.state.box = open_box(settings)
    api.state.webhooks = Webhooks(store)
    for resource in (subscriptions_api, history, events_api):
        api.include_router(resource.router)
    return api

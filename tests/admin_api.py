"""The admin's app with a client that carries the admin token."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from services.admin.app import create_app
from shared.connection import Store
from shared.secrets import new_key
from shared.settings import Settings

ADMIN_TOKEN = "admin-token-of-tests"
KEY = new_key()


def settings(**changes) -> Settings:
    return Settings(**{"admin_token": ADMIN_TOKEN, "secret_key": KEY, "_env_file": None, **changes})


@asynccontextmanager
async def admin_client(store: Store, token: str = ADMIN_TOKEN, **changes) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(store, settings(**changes))
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://pulse.test", headers=headers) as client,
    ):
        yield client

"""The webhooks service for tests: its app with a client, and its worker."""

import asyncio
import ipaddress
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from services.webhooks import worker
from services.webhooks.app import create_app
from shared import events
from shared.connection import Store
from shared.events import NewEvent
from shared.secrets import new_key
from shared.settings import Settings

ADMIN_TOKEN = "admin-token-of-tests"
KEY = new_key()
LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"),)


def settings(store: Store, **changes) -> Settings:
    """Settings under which loopback may be reached; arq's queue lives in the store's own server."""
    known = store.redis.connection_pool.connection_kwargs
    url = f"unix://{known['path']}?db=0" if "path" in known else ""
    return Settings(
        **{
            "redis_url": url or "redis://127.0.0.1:6379/0",
            "admin_token": ADMIN_TOKEN,
            "secret_key": KEY,
            "allow_private_targets": "127.0.0.0/8",
            "_env_file": None,
            **changes,
        }
    )


@asynccontextmanager
async def webhooks_client(
    store: Store, token: str = ADMIN_TOKEN, **changes
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the app, without a socket in between."""
    app = create_app(store, settings(store, **changes))
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(
            transport=transport, base_url="http://pulse.test", headers=headers, timeout=60
        ) as client,
    ):
        yield client


@asynccontextmanager
async def working(store: Store, **changes) -> AsyncIterator[None]:
    """The worker while the body runs; it is stopped as an operator stops it."""
    stop = asyncio.Event()
    task = asyncio.create_task(worker.run(store, settings(store, **changes), stop))
    try:
        yield
    finally:
        stop.set()
        await task


async def make(api: httpx.AsyncClient, url: str = "http://127.0.0.1:1/", **fields) -> dict[str, Any]:
    """A webhook made through the API."""
    body = {"name": "crm", "url": url, "event_type": "user.created", **fields}
    answer = await api.post("/webhooks", json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()


async def emit(store: Store, event_id: str, event_type: str = "user.created", payload: Any = None) -> None:
    """An application's event in the stream."""
    text = events.canonical({"id": event_id} if payload is None else payload)
    await events.emit(store, [NewEvent(event_type, text, event_id)])


async def deliveries(api: httpx.AsyncClient, webhook_id: int, **query) -> list[dict[str, Any]]:
    """A webhook's deliveries, newest first."""
    answer = await api.get(f"/webhooks/{webhook_id}/deliveries", params={"limit": 200, **query})
    assert answer.status_code == 200, answer.text
    return answer.json()["items"]

"""A browser-like client of `/ws`, on the websockets library."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlencode

import uvicorn
from webhooks_api import ADMIN_TOKEN, settings
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from services.webhooks.app import WebhooksApp, create_app
from shared.connection import Store


@asynccontextmanager
async def live_app(store: Store, **changes) -> AsyncIterator[tuple[str, WebhooksApp]]:
    """The app on a real uvicorn, as `mishpulse webhooks` runs it: its `ws://…/ws` and the app."""
    app = create_app(store, settings(store, **changes))
    config = uvicorn.Config(
        app, port=0, log_config=None, ws="websockets-sansio", lifespan="on", timeout_graceful_shutdown=2
    )
    server = uvicorn.Server(config)
    server.capture_signals = contextlib.nullcontext  # type: ignore[assignment]
    task = asyncio.create_task(server.serve())
    while not server.started:
        if task.done():
            task.result()
        await asyncio.sleep(0.005)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"ws://127.0.0.1:{port}/ws", app
    finally:
        server.should_exit = True
        await task


@asynccontextmanager
async def listen(
    url: str, *, headers: dict | None = None, greet: bool = True, **query
) -> AsyncIterator[ClientConnection]:
    """A connection, by default with the admin token and its first message taken."""
    if not headers and not {"token", "api_key", "ticket"} & query.keys():
        query["token"] = ADMIN_TOKEN
    address = f"{url}?{urlencode(query)}" if query else url
    async with connect(address, additional_headers=headers, compression=None, open_timeout=10) as connection:
        if greet:
            first = await said(connection)
            assert (first["type"], first["status"]) == ("connection", "connected"), first
        yield connection


async def said(connection: ClientConnection, timeout: float = 5) -> dict[str, Any]:
    """The next message."""
    async with asyncio.timeout(timeout):
        return json.loads(await connection.recv())


async def closed(connection: ClientConnection, timeout: float = 5) -> tuple[int | None, str | None]:
    """The code and reason of the close, after whatever was still said."""
    async with asyncio.timeout(timeout):
        with contextlib.suppress(ConnectionClosed):
            async for _ in connection:
                pass
        await connection.wait_closed()
    return connection.close_code, connection.close_reason

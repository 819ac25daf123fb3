"""A real uvicorn in the test's own loop, on a port of its own."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn

from services.process import Server


@asynccontextmanager
async def serving(app: Any) -> AsyncIterator[str]:
    """The base URL of `app` while it is served."""
    config = uvicorn.Config(
        app,
        port=0,
        http=getattr(app, "protocol", "httptools"),
        log_config=None,
        lifespan="on",
        timeout_graceful_shutdown=5,
    )
    server = Server(config)
    task = asyncio.create_task(server.serve())
    while not server.started:
        if task.done():
            task.result()
        await asyncio.sleep(0.005)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await task

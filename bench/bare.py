"""The ceilings of ingest: a bare uvicorn app, and a responder that does not even know HTTP."""

import asyncio
import os
from typing import Any

import uvicorn
import uvloop
from ground import Answering

OPTIONS: dict[str, Any] = {
    "loop": "uvloop",
    "http": "httptools",
    "access_log": False,
    "log_level": "error",
    "server_header": False,
    "proxy_headers": False,
    "lifespan": "off",
    "backlog": 2048,
}


async def bare_app(scope: Any, receive: Any, send: Any) -> None:
    """What any ASGI app has to do at least: read the body, answer."""
    if scope["type"] != "http":
        return
    await receive()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"16")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b'{"result": "ok"}'})


def bare(pipe: Any, core: int = 0) -> None:
    """A process that serves the bare app on one core; sends its port and pid back."""
    os.sched_setaffinity(0, {core})

    async def serve() -> None:
        server = uvicorn.Server(uvicorn.Config(bare_app, port=0, **OPTIONS))
        task = asyncio.create_task(server.serve())
        while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.01)
        pipe.send((server.servers[0].sockets[0].getsockname()[1], os.getpid()))
        await task

    uvloop.run(serve())


class Raw(Answering):
    """Answers each piece that arrives: wrk sends a request in one."""

    def data_received(self, _data: bytes) -> None:
        self.transport.write(self.REPLY)


def raw(pipe: Any, core: int = 0) -> None:
    """A process that answers without reading, which shows what the generator of the load can do."""
    os.sched_setaffinity(0, {core})

    async def serve() -> None:
        server = await asyncio.get_running_loop().create_server(Raw, "127.0.0.1", 0)
        pipe.send((server.sockets[0].getsockname()[1], os.getpid()))
        await server.serve_forever()

    uvloop.run(serve())

"""Receivers in processes of their own that remember when each request came."""

import asyncio
import contextlib
import json
import time
from typing import Any

from ground import Answering


class Noting(Answering):
    """Answers 200 and notes the moment and the count of events in the body; `GET /seen` tells and forgets."""

    def __init__(self, seen: list[tuple[float, int]]) -> None:
        self.seen = seen

    def got(self, request: bytes) -> None:
        if request.startswith(b"GET /seen"):
            body = json.dumps(self.seen).encode()
            self.seen.clear()
            self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
            return
        self.seen.append((time.time(), _members(request)))
        super().got(request)


def _members(request: bytes) -> int:
    """How many events a message is about: 1, or in a digest its `count`."""
    body = json.loads(request.partition(b"\r\n\r\n")[2])
    return int(body["count"]) if "count" in body and "events" in body else 1


def receive(pipe: Any) -> None:
    """A process that receives; sends its port back."""
    seen: list[tuple[float, int]] = []

    async def serve() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: Noting(seen), "127.0.0.1", 0, backlog=2_048)
        pipe.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve())


async def seen(port: int) -> list[tuple[float, int]]:
    """What came since the last time: (when, how many events the message is about) of each request."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /seen HTTP/1.1\r\nContent-Length: 0\r\n\r\n")
    length = 0
    while (line := await reader.readline()) != b"\r\n":
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    text = await reader.readexactly(length)
    writer.close()
    return [(at, count) for at, count in json.loads(text)]

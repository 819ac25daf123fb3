"""A load of a fixed rate that costs its own process little: keep-alive connections, one request after another on each.

For an hour of 500 heartbeats/s the client of `chaos.exchange` would take as much of the machine as what it drives.
"""

import asyncio
import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from chaos.world import ADMIN_TOKEN

Next = Callable[[], tuple[str, bytes]]
"""The path and body of the next request."""


@dataclass(slots=True)
class Steady:
    """Sends what `following` gives, `rate` a second over `connections` connections, and counts the answers."""

    url: str
    following: Next
    rate: float
    connections: int = 8
    sent: int = 0
    acknowledged: int = 0
    failed: int = 0
    _stop: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Sends until `stop`; a broken connection is opened again."""
        await asyncio.gather(*(self._connection(number) for number in range(self.connections)))

    def stop(self) -> None:
        """Lets every request under way end, and no other begin."""
        self._stop.set()

    async def _connection(self, number: int) -> None:
        loop = asyncio.get_running_loop()
        pause = self.connections / self.rate
        due = loop.time() + pause * number / self.connections
        parts = urlsplit(self.url)
        while not self._stop.is_set():
            try:
                reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
            except OSError:
                await asyncio.sleep(0.2)
                continue
            try:
                while not self._stop.is_set():
                    await asyncio.sleep(max(0.0, due - loop.time()))
                    due = max(due + pause, loop.time() - 1)
                    await self._exchange(reader, writer)
            except (OSError, EOFError, ValueError):
                self.failed += 1
            finally:
                writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path, body = self.following()
        self.sent += 1
        writer.write(
            f"POST {path} HTTP/1.1\r\nhost: chaos\r\nauthorization: Bearer {ADMIN_TOKEN}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n".encode()
            + body
        )
        async with asyncio.timeout(10):
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            _, _, length = head.partition(b"content-length:")
            await reader.readexactly(int(length.split(b"\r\n", 1)[0]))
        if head.split(b" ", 2)[1].startswith(b"2"):
            self.acknowledged += 1
        else:
            self.failed += 1


def heartbeats(tokens: list[str], rng: random.Random, errors: float, silent: set[str]) -> Next:
    """Beats of all monitors in turn, a part of them errors, none of those in `silent`."""
    position = 0

    def following() -> tuple[str, bytes]:
        nonlocal position
        while True:
            token = tokens[position % len(tokens)]
            position += 1
            if token not in silent:
                break
        body = b'{"status": "error", "message": "seeded"}' if rng.random() < errors else b'{"status": "ok"}'
        return f"/api/heartbeat/{token}", body

    return following


def application_events(prefix: str, kind: str) -> Next:
    """Events one by one, each under an id of its own that ends in its number."""
    count = 0

    def following() -> tuple[str, bytes]:
        nonlocal count
        count += 1
        document = {"id": f"{prefix}-{count}", "type": kind, "payload": {"n": count, "note": "x" * 40}}
        return "/events", json.dumps(document).encode()

    return following

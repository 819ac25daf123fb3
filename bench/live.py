"""Live messages/s to WebSocket clients, beside a bare broadcast loop on the same server and the same clients, in turns.

    python bench/live.py [clients] [events]

Goal (DESIGN 8): at least 0.60 of the bare loop with 1,000 clients. Events come 100 at a time, as many as one look at
the stream hands out; the bare loop has its texts in portions of as many, and like ours gives a client its whole
portion before the next client's.
"""

import asyncio
import itertools
import os
import statistics
import sys
import time
from dataclasses import dataclass
from typing import Any

import uvicorn
import uvloop
from ground import TOKEN, cpu_seconds, fresh_store, process
from report import Measure, progress, report

from services.webhooks import hub
from services.webhooks.app import create_app
from services.webhooks.live_messages import event_text
from shared import events
from shared.connection import Store, connect
from shared.events import Event, NewEvent
from shared.settings import Settings

RUNS = 5
GONE = 0.5
"""Seconds in which a server notices that its clients have gone."""
PAYLOAD = events.canonical({"order": 4711, "customer": "somebody", "items": [{"sku": "a", "n": 1}] * 5})
HANDSHAKE = (
    "GET /ws?token={token} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


class Counting(asyncio.Protocol):
    """A client that counts frames and keeps nothing."""

    def __init__(self, on_frames: Any) -> None:
        self.on_frames, self.buffer, self.open = on_frames, b"", False

    def connection_made(self, transport: Any) -> None:
        transport.write(HANDSHAKE.format(token=TOKEN).encode())

    def data_received(self, data: bytes) -> None:
        buffer = self.buffer + data
        place, frames = 0, 0
        if not self.open:
            end = buffer.find(b"\r\n\r\n")
            if end < 0:
                self.buffer = buffer
                return
            self.open, place = True, end + 4
        while len(buffer) - place >= 4:
            length = buffer[place + 1]
            size = 4 + (buffer[place + 2] << 8 | buffer[place + 3]) if length == 126 else 2 + length
            if len(buffer) - place < size:
                break
            place += size
            frames += 1
        self.buffer = buffer[place:]
        if frames:
            self.on_frames(frames)


def serve(pipe: Any, app: Any) -> None:
    """uvicorn as our processes run it."""
    config = uvicorn.Config(
        app,
        port=0,
        log_config=None,
        access_log=False,
        ws="websockets-sansio",
        ws_per_message_deflate=False,
        lifespan="on",
        backlog=2048,
    )

    async def run() -> None:
        server = uvicorn.Server(config)
        task = asyncio.create_task(server.serve())
        while not server.started:  # noqa: ASYNC110 - uvicorn says it by this alone
            await asyncio.sleep(0.01)
        pipe.send((server.servers[0].sockets[0].getsockname()[1], os.getpid()))
        await task

    uvloop.run(run())


class Bare:
    """Accepts WebSockets, greets each, and sends every text to all that are there when `/go` is asked."""

    def __init__(self, texts: list[str]) -> None:
        self.texts, self.sends = texts, set()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.send", "text": "hello"})
            self.sends.add(send)
            while (await receive())["type"] != "websocket.disconnect":
                pass
            self.sends.discard(send)
        elif scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b""})
            for start in range(0, len(self.texts), hub.BATCH):
                part = self.texts[start : start + hub.BATCH]
                for one in list(self.sends):
                    for text in part:
                        await one({"type": "websocket.send", "text": text})
                    await asyncio.sleep(0)
        else:
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})


def run_bare(pipe: Any, texts: list[str]) -> None:
    serve(pipe, Bare(texts))


def run_ours(pipe: Any, settings: Settings) -> None:
    serve(pipe, create_app(Store(connect(settings.redis_url)), settings))


@dataclass(frozen=True, slots=True)
class Told:
    """Messages per second, and the shares of a core that the server and the counting clients took."""

    rate: float
    server: float
    clients: float


async def measure(port: int, pid: int, clients: int, expected: int, start: Any) -> Told:
    """From `start()` until every client has all messages."""
    loop = asyncio.get_running_loop()
    count, changed = 0, asyncio.Event()

    def on_frames(frames: int) -> None:
        nonlocal count
        count += frames
        changed.set()

    async def reach(wanted: int) -> None:
        async with asyncio.timeout(120):
            while count < wanted:
                changed.clear()
                await changed.wait()

    transports = []
    for _ in range(clients):
        transport, _ = await loop.create_connection(lambda: Counting(on_frames), "127.0.0.1", port)
        transports.append(transport)
    await reach(clients)
    count = 0
    began, used, own = time.perf_counter(), cpu_seconds(pid), time.process_time()
    await start()
    await reach(clients * expected)
    took = time.perf_counter() - began
    told = Told(
        clients * expected / took, (cpu_seconds(pid) - used) / took, (time.process_time() - own) / took
    )
    for transport in transports:
        transport.abort()
    await asyncio.sleep(GONE)
    return told


def line(runs: list[Told]) -> str:
    rate, server, clients = (
        statistics.median(getattr(one, name) for one in runs) for name in ("rate", "server", "clients")
    )
    return f"{rate:,.0f}/s at {server:.0%} of a core; the clients {clients:.0%} of another"


async def main(clients: int, count: int) -> None:
    event = Event(
        "e" * 20, "user.created", int(time.time() * 1000), "1700000000000-1", 0, {"payload": PAYLOAD}
    )
    texts = [event_text(event, ((1_700_000_000_000, i),)) for i in range(count)]
    numbers = itertools.count()
    bare: list[Told] = []
    ours: list[Told] = []

    async def go(port: int) -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /go HTTP/1.1\r\nHost: x\r\n\r\n")

    async with fresh_store() as (store, settings):

        async def emit() -> None:
            for begin in range(0, count, hub.BATCH):
                part = range(begin, min(begin + hub.BATCH, count))
                await events.emit(
                    store, [NewEvent("user.created", PAYLOAD, f"{'e' * 14}{next(numbers):06}") for _ in part]
                )

        with process(run_bare, texts) as (bare_port, bare_pid), process(run_ours, settings) as (port, pid):
            for run in range(RUNS + 1):
                ceiling = await measure(bare_port, bare_pid, clients, count, lambda: go(bare_port))
                made = await measure(port, pid, clients, count, emit)
                if run:  # the first warms both up
                    bare.append(ceiling)
                    ours.append(made)
                progress("runs", run, RUNS)
    ratio = statistics.median(our.rate / ceiling.rate for our, ceiling in zip(ours, bare, strict=True))
    report(
        f"live messages to {clients:,} clients, n = {RUNS} runs of {count} events = {clients * count:,} messages",
        [
            Measure("bare broadcast loop", line(bare)),
            Measure("from the stream to every client", line(ours)),
            Measure("ratio", f"{ratio:.2f}", ratio, 0.60, at_least=True),
        ],
    )


if __name__ == "__main__":
    numbers = [int(text) for text in sys.argv[1:]]
    uvloop.run(main(numbers[0] if numbers else 1_000, numbers[1] if len(numbers) > 1 else 300))

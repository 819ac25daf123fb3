"""Whether slow endpoints delay the others: 200 webhooks, 10 % hanging and 10 % dripping, beside a run without them.

    python bench/isolation.py [seconds of each run]

Goal: the healthy ones' p99 latency, from the event to its arrival, within 1.2 of the run without. Runs alternate,
and each kind's samples are pooled, for a p99 of a single short run says little.
"""

import asyncio
import json
import sys
import time
from typing import Any

import uvloop
from ground import Answering, fresh_store, percentile, process
from report import Measure, progress, report
from running import running

from services.webhooks import subscriptions
from services.webhooks.subscription import Webhook
from shared import events
from shared.connection import Store
from shared.events import NewEvent
from shared.settings import Settings

ENDPOINTS = 200
BROKEN = ENDPOINTS // 5
EACH = 1.0
"""Events a second for each endpoint."""
ROUNDS = 5


class Receiver(Answering):
    """Hangs or drips where the path says so; notes the latency of all else."""

    latencies: list[float] = []  # noqa: RUF012 - one list for the process

    def got(self, request: bytes) -> None:
        path = request.split(b" ", 2)[1]
        if path == b"/hang":
            return
        if path == b"/drip":
            self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
            self.drip()
        elif path == b"/latencies":
            text = json.dumps(self.latencies).encode()
            self.latencies.clear()
            self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(text) + text)
        else:
            body = json.loads(request.split(b"\r\n\r\n", 1)[1])
            self.latencies.append(time.time() - body["at"])
            self.transport.write(self.REPLY)

    def drip(self) -> None:
        if not self.transport.is_closing():
            self.transport.write(b".")
            asyncio.get_running_loop().call_later(0.5, self.drip)


def receive(pipe: Any) -> None:
    async def serve() -> None:
        server = await asyncio.get_running_loop().create_server(Receiver, "127.0.0.1", 0)
        pipe.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    uvloop.run(serve())


async def latencies(port: int) -> list[float]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"POST /latencies HTTP/1.1\r\nContent-Length: 0\r\n\r\n")
    head = await reader.readuntil(b"\r\n\r\n")
    text = await reader.readexactly(int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0]))
    writer.close()
    return json.loads(text)


async def run(store: Store, settings: Settings, port: int, seconds: float, *, broken: bool) -> list[float]:
    """The latencies of the healthy endpoints; without `broken` the others have no webhook."""
    await store.redis.flushall()
    for number in range(ENDPOINTS):
        path = "ok" if number >= BROKEN else ("hang", "drip")[number % 2]
        if number < BROKEN and not broken:
            continue

        def make(webhook_id: int, number: int = number, path: str = path) -> Webhook:
            return Webhook(webhook_id, "b", f"http://127.0.0.1:{port}/{path}", f"bench.n{number}")

        await subscriptions.add(store, make)
    with running("webhooks-worker", settings):
        await asyncio.sleep(1)
        await _emit(store, seconds)
        await asyncio.sleep(1)
        return await latencies(port)


async def _emit(store: Store, seconds: float) -> None:
    """An event for each endpoint in turn, with the moment at which it was made."""
    began = time.time()
    for index in range(int(seconds * EACH * ENDPOINTS)):
        wait = began + index / (EACH * ENDPOINTS) - time.time()
        if wait > 0:
            await asyncio.sleep(wait)
        payload = json.dumps({"at": time.time()})
        await events.emit(store, [NewEvent(f"bench.n{index % ENDPOINTS}", payload, f"e{index}")])


async def main(seconds: float) -> None:
    without: list[float] = []
    beside: list[float] = []
    with process(receive) as port:
        async with fresh_store() as (store, settings):
            await run(store, settings, port, 2, broken=False)
            for done in range(ROUNDS):
                without += await run(store, settings, port, seconds, broken=False)
                beside += await run(store, settings, port, seconds, broken=True)
                progress("rounds", done + 1, ROUNDS)
    ratio = percentile(beside, 0.99) / percentile(without, 0.99)
    measures = [
        Measure(
            name,
            f"p50 {percentile(v, 0.5) * 1000:.1f} ms, p99 {percentile(v, 0.99) * 1000:.1f} ms, n = {len(v)}",
        )
        for name, v in (("without the broken ones", without), ("beside 20 hanging and 20 dripping", beside))
    ]
    measures.append(Measure("ratio of p99", f"{ratio:.2f}", ratio, 1.2))
    report(f"{ENDPOINTS} endpoints, {EACH:g} event/s each", measures)


if __name__ == "__main__":
    uvloop.run(main(float(sys.argv[1]) if len(sys.argv) > 1 else 10))

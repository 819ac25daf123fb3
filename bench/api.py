"""The time that the server takes for `GET /api/status` and the dashboard, and what the heartbeats notice of it.

    python bench/api.py [monitors] [many monitors]

Goals: at most 300 ms each with 10,000 monitors. With 100,000, asked for again and again, they block no heartbeat:
their p99 stays within 100 ms, also when one process serves all of them, as in `mishpulse up`.
"""

import asyncio
import statistics
import sys
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager

import httpx
import uvloop
from filled import filled
from ground import TOKEN, make_durable, settings_for
from load import Load, Wrk, beats
from report import Measure, progress, report
from running import running

from shared import auth, sessions
from shared.connection import Store, connect

RUNS = 9
RATE = 1_000
"""Heartbeats per second beside the pages."""
SECONDS = 8
PAGES = {"GET /api/status": "/api/status", "the dashboard": "/ui"}


@asynccontextmanager
async def scene(count: int, *, together: bool = False) -> AsyncIterator[dict[str, httpx.AsyncClient]]:
    """Who answers each page among `count` monitors, signed in; `together` in one process, as in `mishpulse up`."""
    with ExitStack() as stack:
        server, _ = stack.enter_context(filled(count))
        store, settings = Store(connect(server.url)), settings_for(server.url)
        await make_durable(store)
        if together:
            collector = admin = stack.enter_context(running("up", settings))
        else:
            collector = stack.enter_context(running("collector", settings))
            admin = stack.enter_context(running("admin", settings, PULSE_COLLECTOR_URL=collector.url))
        token = await auth.authenticate(store, TOKEN, TOKEN)
        assert token is not None
        cookies = {sessions.COOKIE: await sessions.start(store, token)}
        yield {
            "GET /api/status": httpx.AsyncClient(base_url=collector.url, timeout=60),
            "the dashboard": httpx.AsyncClient(base_url=admin.url, cookies=cookies, timeout=60),
        }
        await store.redis.aclose()


async def fetch(client: httpx.AsyncClient, path: str) -> tuple[float, int]:
    """Seconds from the request to the last byte, and the bytes."""
    began = time.perf_counter()
    answer = await client.get(path)
    answer.raise_for_status()
    if answer.status_code != 200:
        raise RuntimeError(f"{path}: {answer.status_code}")
    return time.perf_counter() - began, len(answer.content)


async def times(count: int) -> list[Measure]:
    """How long each takes, one after another."""
    measures = []
    async with scene(count) as clients:
        for name, client in clients.items():
            await fetch(client, PAGES[name])
            took = [await fetch(client, PAGES[name]) for _ in range(RUNS)]
            ms = statistics.median(seconds for seconds, _ in took) * 1000
            text = f"{ms:.0f} ms, {took[0][1] / 1e6:.2f} MB, n = {RUNS}"
            measures.append(Measure(f"{name}, {count:,} monitors", text, ms, 300))
            await client.aclose()
    return measures


async def beside(client: httpx.AsyncClient, port: int, path: str) -> tuple[Load, list[float]]:
    """The heartbeats' latency while a page is asked for again and again ("": not at all), and its seconds."""
    load = Wrk(port, beats(range(1_000)), SECONDS, 64, rate=RATE)
    took: list[float] = []
    end = time.monotonic() + SECONDS - 0.5
    while path and time.monotonic() < end:
        took.append((await fetch(client, path))[0])
    return await asyncio.to_thread(load.result), took


async def paging(count: int) -> list[Measure]:
    """With so many monitors: what the heartbeats notice, in the process that answers everything."""
    measures = []
    async with scene(count, together=True) as clients:
        port = clients["GET /api/status"].base_url.port
        assert port is not None
        for step, (name, client) in enumerate(clients.items()):
            await beside(client, port, "")
            quiet, _ = await beside(client, port, "")
            busy, took = await beside(client, port, PAGES[name])
            text = f"{quiet.p99:.1f} ms without, {busy.p99:.1f} ms with, at worst {busy.worst:.0f} ms"
            measures += [
                Measure(f"{name}, {count:,} monitors", f"{statistics.median(took):.2f} s, n = {len(took)}"),
                Measure(f"heartbeats' p99 beside {name}", text, busy.p99, 100),
            ]
            progress("pages", step + 1, len(clients))
        for client in clients.values():
            await client.aclose()
    return measures


async def main(count: int, many: int) -> None:
    report("the API and the pages", [*await times(count), *await paging(many)])


if __name__ == "__main__":
    numbers = [int(text) for text in sys.argv[1:]]
    uvloop.run(main(numbers[0] if numbers else 10_000, numbers[1] if len(numbers) > 1 else 100_000))

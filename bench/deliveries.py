"""Webhook deliveries/s of one worker on one core, beside a bare POST loop on that core, in turns.

    python bench/deliveries.py [deliveries]

Goals: at least 0.45 of the bare loop, httpx over aiohttp with 50 requests in flight. The worker is the real process: it
reads the stream, signs, records in ledger and history, and logs. Redis, the receiver and who makes the events share the
other core. An alert that comes when nothing else is to do arrives within 20 ms at the median.
"""

import asyncio
import os
import statistics
import sys
import time
from contextlib import ExitStack
from typing import Any

import httpx
import uvloop
from ground import answer, fresh_store, percentile, process
from httpx_aiohttp import AiohttpTransport
from loading import LONG, fill, token
from receiving import receive, seen
from report import Curve, Measure, progress, report
from running import running
from storm import add_channels

from services.webhooks import subscriptions
from services.webhooks.keyring import open_box
from services.webhooks.subscription import Webhook, sealed
from shared import delivery_history, events
from shared.connection import Store
from shared.events import NewEvent
from shared.monitors import NewMonitor
from shared.settings import Settings

HOOKS = 10
IN_FLIGHT = 50
RUNS = 5
WORKERS = (1, 2, 3, 4)
EACH = 3
"""Runs of each number of workers."""
WARM = 2
"""Alerts that are not counted: the first opens connections."""
IDLE = 50 + WARM
WORKER_CORE, REDIS_CORE = 0, 1
PAYLOAD = events.canonical({"order": 4711, "customer": "Пётр", "items": [{"sku": "a", "n": 1}] * 5})


def bare(pipe: Any, url: str, count: int) -> None:
    """A process that does nothing else than post, on the workers' core: sends back its requests per second."""
    os.sched_setaffinity(0, {WORKER_CORE})
    body = PAYLOAD.encode()

    async def loop() -> float:
        left = iter(range(count))
        async with httpx.AsyncClient(transport=AiohttpTransport(), trust_env=False) as client:

            async def post() -> None:
                for _ in left:
                    (await client.post(url, content=body)).raise_for_status()

            began = time.perf_counter()
            await asyncio.gather(*[post() for _ in range(IN_FLIGHT)])
            return count / (time.perf_counter() - began)

    pipe.send(uvloop.run(loop()))


def posted(url: str, count: int) -> float:
    """Requests per second of the bare loop."""
    with process(bare, url, count) as rate:
        return float(rate)


async def subscribe(store: Store, settings: Settings, url: str) -> list[str]:
    """The webhooks, each for an event type of its own; their targets."""
    box = open_box(settings)
    found = []
    for number in range(HOOKS):

        def make(webhook_id: int, number: int = number) -> Webhook:
            return Webhook(
                webhook_id, "b", url, f"bench.n{number}", secret=sealed(webhook_id, "secret" * 4, box)
            )

        found.append((await subscriptions.add(store, make)).target)
    return found


async def emit(store: Store, count: int) -> None:
    batch = [NewEvent(f"bench.n{i % HOOKS}", PAYLOAD, f"e{i}") for i in range(count)]
    for start in range(0, count, 500):
        await events.emit(store, batch[start : start + 500])


async def succeeded(store: Store, targets: list[str], count: int) -> None:
    while sum(one.success_count for one in await delivery_history.stats(store, targets)) < count:  # noqa: ASYNC110 - it is Redis that is asked
        await asyncio.sleep(0.02)


async def delivered(url: str, count: int, workers: int = 1, core: int | None = None) -> float:
    """Deliveries per second of so many worker processes, from the first event to the last record.

    Each is the real process, on `core` if one is named, with Redis on the other.
    """
    async with fresh_store(None if core is None else REDIS_CORE) as (store, settings):
        targets = await subscribe(store, settings, url)
        with ExitStack() as stack:
            for _ in range(workers):
                stack.enter_context(running("webhooks-worker", settings, core=core))
            await asyncio.sleep(1)
            began = time.perf_counter()
            await emit(store, count)
            await succeeded(store, targets, count)
            return count / (time.perf_counter() - began)


async def picked_up(port: int) -> list[float]:
    """The ms from a heartbeat that says "error" to the arrival of its alert, while nothing else happens.

    Each monitor has a channel of its own, for one that has many alerts at once puts them into a digest.
    """
    found = []
    async with fresh_store() as (store, settings):
        ids = await add_channels(store, settings, port, IDLE, ("monitor.error",))

        def make(number: int) -> NewMonitor:
            return NewMonitor(name=f"m{number}", timeout=LONG, channels=str(ids[number]))

        fill(settings.redis_url, range(IDLE), make, quiet=True)
        with running("notifier", settings), running("collector", settings) as collector:
            async with httpx.AsyncClient(base_url=collector.url, trust_env=False) as client:
                await asyncio.sleep(1)
                for number in range(IDLE):
                    began = time.time()
                    answer = await client.post(
                        f"/api/heartbeat/{token(number)}", json={"status": "error", "message": "disk full"}
                    )
                    answer.raise_for_status()
                    await asyncio.sleep(0.2)
                    ((at, _),) = await seen(port)
                    found.append((at - began) * 1000)
    return found[WARM:]


async def main(count: int) -> None:
    loops, ratios, made = [], [], []
    os.sched_setaffinity(0, {REDIS_CORE})  # children inherit it: the receiver, Redis
    with process(answer) as port:
        url = f"http://127.0.0.1:{port}/hook"
        for done in range(RUNS):
            before = posted(url, count)
            made.append(await delivered(url, count, core=WORKER_CORE))
            loops += [before, posted(url, count)]
            ratios.append(made[-1] / statistics.mean(loops[-2:]))
            progress("rounds", done + 1, RUNS)
    os.sched_setaffinity(0, range(os.cpu_count() or 1))
    with process(answer) as port:
        url = f"http://127.0.0.1:{port}/hook"
        points = []
        for workers in WORKERS:
            rates = [await delivered(url, count, workers) for _ in range(EACH)]
            points.append((float(workers), statistics.median(rates)))
            progress("workers", workers, len(WORKERS))
    with process(receive) as port:
        idle = await picked_up(port)
    ratio, half = statistics.median(ratios), percentile(idle, 0.5)
    measures = [
        Measure("bare httpx-over-aiohttp loop", f"{statistics.median(loops):,.0f}/s"),
        Measure("delivered, signed, recorded, logged", f"{statistics.median(made):,.0f}/s"),
        Measure("ratio", f"{ratio:.2f}", ratio, 0.45, at_least=True),
        *[
            Measure(f"{workers:g} worker processes on all cores", f"{rate:,.0f}/s, n = {EACH}")
            for workers, rate in points
        ],
        Measure(
            "an alert of an idle system, from the heartbeat to its receiver",
            f"p50 {half:.1f} ms, p99 {percentile(idle, 0.99):.1f} ms, n = {len(idle)}",
            half,
            20,
        ),
    ]
    title = f"webhook deliveries, n = {RUNS} runs of {count:,}"
    report(title, measures, [Curve("deliveries", "deliveries/s", tuple(points))])


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 8_000))

"""Webhook deliveries/s of one worker, with signature and history, beside a bare POST loop in the same run.

    python bench/deliveries.py [deliveries]

Goals: at least 0.45 of the bare loop, httpx over aiohttp with 50 requests in flight; an event that comes when nothing
else is to do arrives within 20 ms at the median.
"""

import asyncio
import statistics
import sys
import time
from contextlib import ExitStack

import httpx
import uvloop
from ground import answer, fresh_store, percentile, process
from httpx_aiohttp import AiohttpTransport
from receiving import receive, seen
from report import Curve, Measure, progress, report
from running import running

from services.webhooks import subscriptions, worker
from services.webhooks.keyring import open_box
from services.webhooks.subscription import Webhook, sealed
from shared import delivery_history, events
from shared.connection import Store
from shared.events import NewEvent
from shared.settings import Settings

HOOKS = 10
IN_FLIGHT = 50
RUNS = 5
WORKERS = (1, 2, 3, 4)
IDLE = 52
PAYLOAD = events.canonical({"order": 4711, "customer": "Пётр", "items": [{"sku": "a", "n": 1}] * 5})


async def bare(url: str, count: int) -> float:
    """Requests per second of a loop that does nothing else."""
    body = PAYLOAD.encode()
    left = iter(range(count))
    async with httpx.AsyncClient(transport=AiohttpTransport(), trust_env=False) as client:

        async def post() -> None:
            for _ in left:
                (await client.post(url, content=body)).raise_for_status()

        began = time.perf_counter()
        await asyncio.gather(*[post() for _ in range(IN_FLIGHT)])
        return count / (time.perf_counter() - began)


async def ours(store: Store, settings: Settings, url: str, count: int) -> float:
    """Deliveries per second from the event stream to the last record."""
    targets = await subscribe(store, settings, url)
    await emit(store, count)
    stop = asyncio.Event()
    began = time.perf_counter()
    task = asyncio.create_task(worker.run(store, settings, stop))
    await succeeded(store, targets, count)
    took = time.perf_counter() - began
    stop.set()
    await task
    return count / took


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


async def spread(url: str, count: int, workers: int) -> float:
    """Deliveries per second of so many worker processes, from the first event to the last record."""
    async with fresh_store() as (store, settings):
        targets = await subscribe(store, settings, url)
        with ExitStack() as stack:
            for _ in range(workers):
                stack.enter_context(running("webhooks-worker", settings))
            await asyncio.sleep(1)
            began = time.perf_counter()
            await emit(store, count)
            await succeeded(store, targets, count)
            return count / (time.perf_counter() - began)


async def picked_up(port: int) -> list[float]:
    """The ms from one event to its arrival, while the worker has nothing else to do."""
    found = []
    async with fresh_store() as (store, settings):
        await subscribe(store, settings, f"http://127.0.0.1:{port}/hook")
        with running("webhooks-worker", settings):
            await asyncio.sleep(1)
            for number in range(IDLE):
                began = time.time()
                await events.emit(store, [NewEvent("bench.n0", PAYLOAD, f"idle{number}")])
                await asyncio.sleep(0.2)
                ((at, _),) = await seen(port)
                found.append((at - began) * 1000)
    return found[2:]


async def main(count: int) -> None:
    loops, ratios, made = [], [], []
    with process(answer) as port:
        url = f"http://127.0.0.1:{port}/hook"
        await bare(url, 500)
        for done in range(RUNS):
            async with fresh_store() as (store, settings):
                before = await bare(url, count)
                made.append(await ours(store, settings, url, count))
                loops += [before, await bare(url, count)]
                ratios.append(made[-1] / statistics.mean(loops[-2:]))
            progress("rounds", done + 1, RUNS)
        points = [(float(workers), await spread(url, count, workers)) for workers in WORKERS]
    with process(receive) as port:
        idle = await picked_up(port)
    ratio, half = statistics.median(ratios), percentile(idle, 0.5)
    measures = [
        Measure("bare httpx-over-aiohttp loop", f"{statistics.median(loops):,.0f}/s"),
        Measure("delivered, signed, recorded", f"{statistics.median(made):,.0f}/s"),
        Measure("ratio", f"{ratio:.2f}", ratio, 0.45, at_least=True),
        *[Measure(f"{workers:g} worker processes", f"{rate:,.0f}/s") for workers, rate in points],
        Measure(
            "picked up when idle",
            f"p50 {half:.1f} ms, p99 {percentile(idle, 0.99):.1f} ms, n = {len(idle)}",
            half,
            20,
        ),
    ]
    title = f"webhook deliveries, n = {RUNS} runs of {count:,}"
    report(title, measures, [Curve("deliveries", "deliveries/s", tuple(points))])


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 4_000))

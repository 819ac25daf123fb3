"""Webhook deliveries/s of one worker, with signature and history, beside a bare POST loop in the same run.

    python bench/deliveries.py [deliveries]

Goal (DESIGN 8): at least 0.45 of the bare loop, httpx over aiohttp with 50 requests in flight.
"""

import asyncio
import sys
import time

import httpx
import uvloop
from ground import answer, fresh_store, process, table
from httpx_aiohttp import AiohttpTransport

from services.webhooks import subscriptions, worker
from services.webhooks.keyring import open_box
from services.webhooks.subscription import Webhook, sealed
from shared import delivery_history, events
from shared.connection import Store
from shared.events import NewEvent
from shared.settings import Settings

HOOKS = 10
IN_FLIGHT = 50
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
    box = open_box(settings)
    for number in range(HOOKS):

        def make(webhook_id: int, number: int = number) -> Webhook:
            return Webhook(
                webhook_id, "b", url, f"bench.n{number}", secret=sealed(webhook_id, "secret" * 4, box)
            )

        await subscriptions.add(store, make)
    batch = [NewEvent(f"bench.n{i % HOOKS}", PAYLOAD, f"e{i}") for i in range(count)]
    for start in range(0, count, 500):
        await events.emit(store, batch[start : start + 500])
    stop = asyncio.Event()
    targets = [f"webhook:{number + 1}" for number in range(HOOKS)]
    began = time.perf_counter()
    task = asyncio.create_task(worker.run(store, settings, stop))
    while sum(one.success_count for one in await delivery_history.stats(store, targets)) < count:  # noqa: ASYNC110 - it is Redis that is asked
        await asyncio.sleep(0.02)
    took = time.perf_counter() - began
    stop.set()
    await task
    return count / took


async def main(count: int) -> None:
    with process(answer) as port:
        url = f"http://127.0.0.1:{port}/hook"
        async with fresh_store() as (store, settings):
            await bare(url, 500)
            first = await bare(url, count)
            made = await ours(store, settings, url, count)
            second = await bare(url, count)
    loop = (first + second) / 2
    table(
        f"webhook deliveries, one worker, n = {count}",
        [
            ("bare httpx-over-aiohttp loop", f"{loop:,.0f}/s (before {first:,.0f}, after {second:,.0f})"),
            ("delivered, signed, recorded", f"{made:,.0f}/s"),
            ("ratio (goal 0.45)", f"{made / loop:.2f}"),
        ],
    )


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 4_000))

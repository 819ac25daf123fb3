"""Watchdogs and a listening collector for a test, and what tests ask of them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from waiting import wait_until

from services.watchdog import service
from shared import keys, monitors, scripts
from shared.connection import Store
from shared.events import parse
from shared.monitors import NewMonitor
from shared.settings import load


async def beaten(store: Store, timeout: int = 50, **settings: object) -> str:
    """A monitor that was just beaten; `timeout` in ms."""
    monitor, _ = await monitors.create(store, NewMonitor(name="worker", timeout=timeout, **settings))  # type: ignore[arg-type]
    target = scripts.monitor_keys(store, monitor.id, monitor.token_hash)
    await scripts.beat(store.redis, 0, [scripts.Beat(target, "ok")])
    return monitor.id


async def without_short_way(store: Store, *ids: str) -> None:
    """Lets these monitors die by the long way: whoever has no card does."""
    for monitor_id in ids:
        assert await store.redis.hdel(keys.monitor(0, monitor_id), "card")  # type: ignore[misc]


async def status(store: Store, monitor_id: str) -> str:
    return (await monitors.get(store, monitor_id)).status


async def deaths(store: Store) -> list[str]:
    entries = [parse(0, *entry) for entry in await store.redis.xrange(keys.events(0))]
    return [event.fields["monitor"] for event in entries if event.type == "monitor.dead"]


@asynccontextmanager
async def listening(store: Store) -> AsyncIterator[None]:
    """A collector that stamps all the while."""

    async def keep() -> None:
        while True:
            await scripts.stamp(store.redis, 0, 10_000)
            await asyncio.sleep(0.05)

    task = asyncio.create_task(keep())
    try:
        await wait_until(lambda: store.redis.exists(keys.ingest(0)), "the first stamp")
        yield
    finally:
        task.cancel()


@asynccontextmanager
async def running(store: Store, count: int = 1, **settings: object) -> AsyncIterator[None]:
    """`count` watchdogs."""
    stop = asyncio.Event()
    tasks = [asyncio.create_task(service.run(store, load(**settings), stop)) for _ in range(count)]
    try:
        yield
    finally:
        stop.set()
        await asyncio.gather(*tasks)


class NothingWaits:
    """Stands for a collector that has recorded all it was sent."""

    accepted = 0

    async def settled(self, _shard: int) -> None:
        """At once."""


async def now_ms(store: Store) -> int:
    seconds, micros = await store.redis.time()
    return seconds * 1000 + micros // 1000

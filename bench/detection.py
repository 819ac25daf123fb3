"""How long after its deadline a silent monitor is declared dead, by the ledger alone.

    python bench/detection.py [monitors ...]

1,000 monitors die together among the others. Goal (DESIGN 8): p99 within 100 ms among 100,000, 250 ms among 1,000,000.
"""

import asyncio
import sys
import time

import uvloop
from ground import fresh_store, percentile, table

from services.watchdog import service
from shared import keys, monitors, scripts
from shared.connection import Store
from shared.monitors import NewMonitor
from shared.settings import Settings

DYING = 1_000
SIZES = (1_000, 100_000)
HOUR_MS = 3_600_000


async def fill(store: Store, count: int) -> None:
    """Living monitors with deadlines in an hour, written as the scripts would leave them."""
    at = int(time.time() * 1000)
    fields = {"status": "alive", "gen": 2, "since": at, "created": at, "seen": at, "timeout": HOUR_MS}
    for start in range(0, count, 5_000):
        pipe = store.redis.pipeline(transaction=False)
        for number in range(start, min(count, start + 5_000)):
            name = f"x{number:013d}"
            pipe.hset(keys.monitor(0, name), mapping={**fields, "name": name})
            pipe.set(keys.pulse(0, name), "", px=HOUR_MS)
            pipe.zadd(keys.deadlines(0), {name: at + HOUR_MS})
        await pipe.execute()


async def lags(store: Store, settings: Settings) -> list[float]:
    """The lag in ms of each of 1,000 monitors that fall silent together."""
    made = [await monitors.create(store, NewMonitor(name="dying", timeout=2_000)) for _ in range(DYING)]
    beats = [scripts.Beat(scripts.monitor_keys(store, one.id, one.token_hash), "ok") for one, _ in made]
    stop = asyncio.Event()

    async def listen() -> None:
        while not stop.is_set():
            await scripts.stamp(store.redis, 0, None)
            await asyncio.sleep(0.2)

    listening = asyncio.create_task(listen())
    for start in range(0, DYING, 250):
        await scripts.beat(store.redis, 0, beats[start : start + 250])
    due = {one.id: await store.redis.zscore(keys.deadlines(0), one.id) for one, _ in made}
    watching = asyncio.create_task(service.run(store, settings, stop))
    events = await store.redis.xlen(keys.events(0)) + DYING
    while await store.redis.xlen(keys.events(0)) < events:  # noqa: ASYNC110 - the watchdog writes it
        await asyncio.sleep(0.1)
    stop.set()
    await asyncio.gather(listening, watching)
    return [at - due[name] for name, at in (await dead(store)).items()]


async def dead(store: Store) -> dict[str, int]:
    """When each death was recorded, in ms of Redis time."""
    entries = await store.redis.xrange(keys.events(0))
    return {f["monitor"]: int(f["at"]) for _, f in entries if f["type"] == "monitor.dead"}


async def main(sizes: list[int]) -> None:
    rows = []
    for size in sizes:
        async with fresh_store() as (store, settings):
            await fill(store, size)
            found = await lags(store, settings.model_copy(update={"expiry_hints": False}))
        text = f"p50 {percentile(found, 0.5):.0f} ms · p99 {percentile(found, 0.99):.0f} ms · worst {max(found):.0f} ms"
        rows.append((f"among {size:,}", text))
    table(f"detection lag of {DYING:,} deaths, expiry events off", rows)


if __name__ == "__main__":
    uvloop.run(main([int(size) for size in sys.argv[1:]] or list(SIZES)))

"""How long after its deadline a silent monitor is declared dead, and what watching costs Redis.

    python bench/detection.py [monitors ...]

1,000 monitors die together among the others, three times. Goals: p99 within 50 ms among 1,000, 100 ms among 100,000,
250 ms among 1,000,000; no script call above 5 ms; the idle sweep among 1,000,000 at most 3 % of a core of Redis.
Watchdog and collector are the real processes with their default settings.
"""

import asyncio
import sys
from dataclasses import dataclass

import slow
import uvloop
from filled import filled
from ground import cpu_seconds, make_durable, percentile, settings_for
from loading import token
from report import Curve, Measure, progress, report
from running import running
from slow import Longest

from services.collector.batching import BATCH
from shared import keys, scripts
from shared.auth import hash_token
from shared.connection import Store, connect
from shared.events import parse

DYING = 1_000
ROUNDS = 3
SILENCE_MS = 2_000
IDLE_SECONDS = 10
SIZES = {1_000: 50, 100_000: 100, 1_000_000: 250}
"""Monitors in all, and the goal of their p99 in ms."""


@dataclass(frozen=True, slots=True)
class Found:
    """Lags in ms of all deaths, the longest script call, and the share of a core that idling costs Redis."""

    lags: list[float]
    longest: Longest
    idle: float
    idle_without: float


async def dying(store: Store, ids: list[str]) -> tuple[list[float], list[float]]:
    """Lags and deadlines in ms of all of `ids`, which send one more heartbeat and fall silent together."""
    cursor = await last_event(store)
    beats = [
        scripts.Beat(scripts.monitor_keys(store, name, hash_token(token(number))), "ok")
        for number, name in enumerate(ids)
    ]
    for start in range(0, len(beats), BATCH):
        await scripts.beat(store.redis, 0, beats[start : start + BATCH])
    due = {name: await store.redis.zscore(keys.deadlines(0), name) for name in ids}
    lags: list[float] = []
    while len(lags) < len(ids):
        await asyncio.sleep(0.1)
        entries = await store.redis.xrange(keys.events(0), min=f"({cursor}")
        dead = [event for entry in entries if (event := parse(0, *entry)).type == "monitor.dead"]
        lags = [one.at - due[one.fields["monitor"]] for one in dead]
    return lags, list(due.values())


async def last_event(store: Store) -> str:
    entries = await store.redis.xrevrange(keys.events(0), count=1)
    return str(entries[0][0]) if entries else "0-0"


async def load_of(pid: int) -> float:
    before = cpu_seconds(pid)
    await asyncio.sleep(IDLE_SECONDS)
    return (cpu_seconds(pid) - before) / IDLE_SECONDS


async def measure(size: int) -> Found:
    with filled(size, core=1) as (server, names):
        assert server.process is not None
        store, ids = Store(connect(server.url)), names[:DYING]
        await make_durable(store)
        for name in ids:
            await scripts.update_monitor(store, name, {"timeout": str(SILENCE_MS)}, tell=False)
        settings, lags = settings_for(server.url), []
        with running("collector", settings):
            without = await load_of(server.process.pid)
            with running("watchdog", settings):
                await buried(store, ids)
                await slow.watch(store)
                for done in range(ROUNDS):
                    lags += (await dying(store, ids))[0]
                    progress(f"rounds among {size:,}", done + 1, ROUNDS)
                longest = await slow.longest(store)
                idle = await load_of(server.process.pid)
        await store.redis.aclose()
    return Found(lags, longest, idle, without)


async def buried(store: Store, ids: list[str]) -> None:
    """Waits until all are dead, for they were last heard before this began."""
    while any(score != float("inf") for score in await store.redis.zmscore(keys.deadlines(0), ids)):  # noqa: ASYNC110 - it is Redis that is asked
        await asyncio.sleep(0.1)


async def main(sizes: list[int]) -> None:
    measures, points = [], []
    for size in sizes:
        found = await measure(size)
        p99, goal = percentile(found.lags, 0.99), SIZES.get(size)
        text = f"p50 {percentile(found.lags, 0.5):.0f} ms, p99 {p99:.0f} ms, worst {max(found.lags):.0f} ms"
        points.append((float(size), p99))
        measures += [
            Measure(f"lag among {size:,}", text, p99, goal),
            Measure(f"longest script call among {size:,}", str(found.longest), found.longest.ms, 5),
            Measure(
                f"Redis, idle sweep among {size:,}",
                f"{found.idle:.1%} of a core, {found.idle_without:.1%} without a watchdog",
                found.idle - found.idle_without,
                0.03,
            ),
        ]
    title = f"detection of {DYING:,} deaths at once, n = {ROUNDS * DYING:,} for each size"
    report(title, measures, [Curve("detection", "p99 of the lag", tuple(points))])


if __name__ == "__main__":
    uvloop.run(main([int(size) for size in sys.argv[1:]] or list(SIZES)))

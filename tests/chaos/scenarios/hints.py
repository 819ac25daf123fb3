"""Every hint is taken away: expiry events are switched off, and the arq queue is emptied by hand again and again."""

import asyncio
import contextlib
from statistics import median
from typing import Final

from chaos import ledger, retrying, rows
from chaos.retrying import Writers
from chaos.rig import Rig, plain_redis, rig
from chaos.rows import percentile
from chaos.score import Context, Score
from chaos.wire import Wire
from chaos.workload import Load
from chaos.world import ADMIN_TOKEN
from shared import monitors
from shared.connection import connect
from shared.monitors import NewMonitor
from shared.queue import queue_name

NAME = "hints"
PROMISE = "losing every hint costs latency at most"
WEIGHT = 0.5
LEAST = 26.0
FULL = 140.0

ROUNDS: Final = 6
DYING: Final = 700
"""Deaths in each round with and each without expiry events: turn by turn, so that a busy moment meets both."""
TIMEOUT: Final = (1_000, 4_000)
"""Ms."""
SAME: Final = 0.1
"""Seconds by which detection without hints may be slower at its p99: the longest sleep of the sweep."""
NOTICED_WITHIN: Final = 3.0
EMPTY_EVERY: Final = 0.01
WRITERS: Final = 10
DRAIN: Final = 60.0
LOAD: Final = Load(monitors=0, events=0.0, channels=0, webhooks=("order.*", "order.*", "order.*"))
OPTION: Final = "notify-keyspace-events"


async def run(context: Context) -> Score:
    """Deaths with and without expiry events, in turn; then events with and without an arq queue."""
    beside = context.folder.parent / f"{NAME}-redis"
    async with contextlib.AsyncExitStack() as stack:
        url = await stack.enter_async_context(plain_redis(beside))
        queue = url.replace("db=0", "db=1")
        up = await stack.enter_async_context(rig(context, LOAD, redis_url=url, queue_url=queue))
        wire = await stack.enter_async_context(Wire(up.world.ports["collector"], ADMIN_TOKEN))
        score = Score()
        await _detection(up, wire, context, score)
        await _queue(up, wire, context, queue, score)
        rows.ended(PROMISE, up.world.check(), 6, score)
        return score


async def _detection(up: Rig, wire: Wire, context: Context, score: Score) -> None:
    flags = (await up.store.redis.config_get(OPTION))[OPTION]
    assert "x" in flags, "the watchdog has not switched expiry events on"
    count = context.count(DYING, least=300)
    rounds: dict[str, list[list[float]]] = {"on": [], "off": []}
    for _ in range(context.count(ROUNDS)):
        for name, found in rounds.items():
            await up.store.redis.config_set(OPTION, flags if name == "on" else "")
            found.append(await _deaths(up, wire, context, count))
    assert (await up.store.redis.config_get(OPTION))[OPTION] == "", "somebody switched them on again"
    lags = {name: [lag for one in found for lag in one] for name, found in rounds.items()}
    # Of each round its p99, of these the median: one busy moment of the machine decides nothing.
    on, off = (median(percentile(one, 0.99) for one in found) / 1000 for found in rounds.values())
    n, due = len(lags["off"]), count * len(rounds["off"])
    score.zero(PROMISE, "deaths missed with expiry events off", due - n, due)
    figure = "detection with expiry events off, p99, median of the rounds"
    score.at_most(PROMISE, figure, off, round(on + SAME, 3), n, " s")
    score.notes.append(
        f"Detection after the deadline in {len(rounds['on'])} rounds each, ms, median / p99 over all: "
        + "; ".join(
            f"expiry events {name} {percentile(found, 0.5):.0f} / {percentile(found, 0.99):.0f} (n = {len(found):,})"
            for name, found in lags.items()
        )
    )


async def _deaths(up: Rig, wire: Wire, context: Context, count: int) -> list[float]:
    """The ms after their deadlines at which that many monitors, each heard once, are declared dead."""
    new = [NewMonitor("mortal", timeout=context.rng.randint(*TIMEOUT), channels="") for _ in range(count)]
    made = []
    for start in range(0, count, 50):
        made += await asyncio.gather(*(monitors.create(up.store, one) for one in new[start : start + 50]))
    await asyncio.gather(*(wire.post(f"/api/heartbeat/{token}") for _, token in made))
    ids = {monitor.id for monitor, _ in made}
    await asyncio.sleep(TIMEOUT[1] / 1000 + NOTICED_WITHIN)
    events = [
        one for one in await ledger.stream(up.store) if one.type == "monitor.dead" and one.monitor in ids
    ]
    found = await monitors.get_many(up.store, sorted(ids))
    seen = {one.id: (one.seen or 0) + one.timeout for one in found}
    return [event.at - seen[event.monitor] for event in events]


async def _queue(up: Rig, wire: Wire, context: Context, queue_url: str, score: Score) -> None:
    queue = connect(queue_url)
    emptied = 0

    async def empty() -> None:
        nonlocal emptied
        while True:
            removed = await queue.delete(queue_name("webhook"), queue_name("channel"))
            async for key in queue.scan_iter("arq:*", count=500):
                removed += await queue.delete(key)
            emptied += removed > 0
            await asyncio.sleep(EMPTY_EVERY)

    writers = Writers(wire, context.rng, "hint")
    emptying = asyncio.create_task(empty())
    load = [asyncio.create_task(writers.keep_telling(0.1)) for _ in range(WRITERS)]
    await asyncio.sleep(max(5.0, context.budget * 0.2))
    writers.stop()
    await asyncio.gather(*load)
    left = await up.drained(DRAIN)
    emptying.cancel()
    await asyncio.gather(emptying, return_exceptions=True)
    await queue.aclose()
    acknowledged = {name: at for (_, name), at in writers.written.acknowledged.items()}
    lost, _ = retrying.compare(writers.written.acknowledged, await retrying.marks(up.store))
    assert not lost
    got = {(receipt.target, receipt.message) for receipt in up.facts.receipts}
    due = [(target, name) for target in up.facts.subscriptions for name in acknowledged]
    missing = [one for one in due if one not in got]
    score.zero(PROMISE, "deliveries lost while the arq queue is emptied", len(missing), len(due))
    score.zero(PROMISE, "deliveries left undone", sum(left.values()), len(due))
    latency = [one.at - acknowledged[one.message] for one in up.facts.receipts if one.message in acknowledged]
    score.at_most(
        PROMISE,
        "delivery with an emptied queue, p99",
        percentile(latency, 0.99) / 1000,
        3.0,
        len(latency),
        " s",
    )
    score.notes.append(f"jobs were taken out of the arq queue {emptied:,} times")

"""A tenth of all replies is cut, between clients and collector and between everything and Redis."""

import asyncio
import contextlib
import random
from collections import Counter
from typing import Final

from chaos import consistency, rows
from chaos.proxy import Proxy
from chaos.retrying import Reporter, Writers, compare, expected, marks
from chaos.rig import Rig, plain_redis, rig
from chaos.score import Context, Score
from chaos.wire import Wire
from chaos.workload import Load
from chaos.world import ADMIN_TOKEN

NAME = "cut_replies"
PROMISE = "a write whose reply is lost happens once"
WEIGHT = 0.6
LEAST = 22.0
FULL = 100.0

SHARE: Final = 0.1
EVENTS: Final = 0.25
"""The part of the writes that are application events; the others are heartbeats."""
CLIENTS: Final = 80
STATUSES: Final = ("ok", "warning", "error")
DRAIN: Final = 60.0
LOAD: Final = Load(monitors=0, events=0.0, channels=0, webhooks=("order.*",))


async def run(context: Context) -> Score:
    """Writes through two proxies that cut replies, until each is acknowledged; then everything is counted."""
    writes = context.count(20_000, least=1_500)
    beside = context.folder.parent / f"{NAME}-redis"
    async with contextlib.AsyncExitStack() as stack:
        direct = await stack.enter_async_context(plain_redis(beside))
        proxied = f"unix:{beside}/proxied"
        redis = await stack.enter_async_context(
            Proxy(f"unix:{beside}/socket", proxied, seed=context.rng.randrange(1 << 30))
        )
        url = f"unix://{beside}/proxied?db=0"
        up = await stack.enter_async_context(rig(context, LOAD, redis_url=url, direct_url=direct))
        collector = f"tcp:127.0.0.1:{up.world.ports['collector']}"
        http = await stack.enter_async_context(Proxy(collector, seed=context.rng.randrange(1 << 30)))
        wire = await stack.enter_async_context(Wire(http.port, ADMIN_TOKEN, CLIENTS + 20))
        writers = Writers(wire, context.rng, "cut")
        await writers.make(up.store, CLIENTS)
        for proxy in (redis, http):
            await proxy.set("cut", share=SHARE)
        await _write(writers, writes, context.rng)
        cut = {"Redis": await redis.counts(), "the collector": await http.counts()}
        for proxy in (redis, http):
            await proxy.set("pass")
        left = await up.drained(DRAIN)
        score = Score()
        await _judge(up, writers, score, left)
        _tell_cuts(score, cut, writers)
        rows.ended(PROMISE, up.world.check(), 6, score)
        return score


async def _write(writers: Writers, writes: int, rng: random.Random) -> None:
    """All clients side by side, each one write after another."""
    events = round(writes * EVENTS)
    each, rest = divmod(writes - events, len(writers.reporters))

    async def beat(one: Reporter, count: int) -> None:
        for _ in range(count):
            await writers.report(one, rng.choice(STATUSES))

    async def tell(count: int) -> None:
        for _ in range(count):
            await writers.event()

    beats = [beat(one, each + (index < rest)) for index, one in enumerate(writers.reporters)]
    portions = [events // 10 + (index < events % 10) for index in range(10)]
    await asyncio.gather(*beats, *(tell(count) for count in portions))


async def _judge(up: Rig, writers: Writers, score: Score, left: dict[str, int]) -> None:
    wanted = [mark for one in writers.reporters for mark in expected(one)]
    events = [mark for mark in writers.written.acknowledged if not mark[0]]
    lost, doubled = compare([*wanted, *events], await marks(up.store))
    n = len(wanted) + len(events)
    score.zero(PROMISE, "duplicate events with a tenth of all replies cut", len(doubled), n)
    score.zero(PROMISE, "acknowledged writes lost with a tenth of all replies cut", len(lost), n)
    received = Counter(name for receipt in up.facts.receipts for name in receipt.events)
    missing = [name for _, name in events if not received[name]]
    twice = [name for name, count in received.items() if count > 1]
    score.zero(PROMISE, "events not delivered", len(missing), len(events))
    score.zero(PROMISE, "events delivered twice", len(twice), len(events))
    score.zero(PROMISE, "deliveries unfinished", sum(left.values()), len(events))
    found = await consistency.inspect(up.store)
    n = found.monitors + found.events + found.deliveries
    score.zero(PROMISE, "contradictions in Redis afterwards", len(found.contradictions), n)
    score.notes += [*found.contradictions[:3], *(f"lost: {one}" for one in lost[:3])]
    score.notes += [f"doubled: {one}" for one in doubled[:3]]


def _tell_cuts(score: Score, cut: dict[str, Counter[str]], writers: Writers) -> None:
    told = ", ".join(f"{name} {found['cut']:,} of {found['writes']:,}" for name, found in cut.items())
    score.notes.append(
        f"Replies cut: {told}. {writers.written.sent:,} writes were acknowledged, {writers.written.repeated:,} were "
        "sent again by their clients."
    )

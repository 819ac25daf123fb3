"""Redis stands still for a second to ten minutes: connections stay open and nothing answers."""

import asyncio
import contextlib
from typing import Final

from chaos import consistency, ledger, retrying
from chaos.healthy import Fleet, judge
from chaos.history import now_ms
from chaos.redis_server import RedisServer
from chaos.retrying import Writers
from chaos.rig import Rig, rig
from chaos.score import Context, Score
from chaos.wire import Wire
from chaos.workload import Load
from chaos.world import ADMIN_TOKEN

NAME = "redis_stops"
PROMISE = "a Redis that stands still is nobody's death"
WEIGHT = 1.0
LEAST = 38.0
FULL = 960.0

STOPS: Final = (1.0, 3.0, 12.0, 60.0, 600.0)
"""Seconds; the longer ones only where the budget has room for them."""
BETWEEN: Final = 8.0
TIMEOUT: Final = (5.0, 7.0)
SLACK: Final = 2.5
"""Seconds that clients leave: a silence of ours of up to 2 s is not credited, and so lies within what they leave."""
MEMBERS: Final = 300
SILENCED: Final = 30
FOUND_WITHIN: Final = 3.0
DRAIN: Final = 60.0
LOAD: Final = Load(monitors=0, events=0.0, channels=0, webhooks=("order.*",))


async def run(context: Context) -> Score:
    """Healthy clients that never retry and writers that do, through one stop after another; some silence at the end."""
    stops = _chosen(context.budget)
    folder = context.folder.parent / f"{NAME}-redis"
    folder.mkdir(parents=True, exist_ok=True)
    async with contextlib.AsyncExitStack() as stack:
        server = RedisServer(folder)
        server.start()
        stack.callback(server.kill)
        up = await stack.enter_async_context(rig(context, LOAD, redis_url=server.url))
        wire = await stack.enter_async_context(Wire(up.world.ports["collector"], ADMIN_TOKEN, 400))
        fleet = Fleet(up.store, wire, context.rng)
        await fleet.make(context.count(MEMBERS, least=100), TIMEOUT, slack=SLACK)
        writers = Writers(wire, context.rng, "stop")
        fleet.begin()
        load = [asyncio.create_task(writers.keep_telling(0.5)) for _ in range(10)]
        for seconds in stops:
            await asyncio.sleep(BETWEEN)
            began = now_ms()
            server.pause()
            await asyncio.sleep(seconds)
            server.resume()
            up.history.fault("stop", "redis", began, now_ms())
        await asyncio.sleep(BETWEEN)
        fleet.silence(context.rng.sample(fleet.members, min(SILENCED, len(fleet.members) // 4)))
        await asyncio.sleep(TIMEOUT[1] + FOUND_WITHIN)
        writers.stop()
        await asyncio.gather(*load)
        await fleet.end()
        left = await up.drained(DRAIN)
        return await _score(up, fleet, writers, stops, left)


def _chosen(budget: float) -> list[float]:
    """The stops that fit into the budget."""
    room = budget - TIMEOUT[1] - FOUND_WITHIN - BETWEEN
    chosen: list[float] = []
    for seconds in STOPS:
        room -= seconds + BETWEEN
        if room < 0 and chosen:
            break
        chosen.append(seconds)
    return chosen


async def _score(up: Rig, fleet: Fleet, writers: Writers, stops: list[float], left: dict[str, int]) -> Score:
    events = await ledger.stream(up.store)
    verdict = judge(fleet.members, events, await ledger.gaps(up.store))
    told = [mark for mark in await retrying.marks(up.store) if not mark[0]]
    lost, doubled = retrying.compare(writers.written.acknowledged, told)
    n = len(writers.written.acknowledged)
    score = Score()
    lengths = ", ".join(f"{seconds:g}" for seconds in stops)
    cases = len(fleet.members) * len(stops)
    score.zero(PROMISE, f"healthy monitors called dead in stops of {lengths} s", len(verdict.false), cases)
    silent = len(verdict.missed) + len(verdict.lags)
    score.zero(PROMISE, "silences missed after them", len(verdict.missed), silent)
    score.zero(PROMISE, "acknowledged events lost", len(lost), n)
    score.zero(PROMISE, "events doubled", len(doubled), n)
    received = {name for receipt in up.facts.receipts for name in receipt.events}
    missing = [name for _, name in writers.written.acknowledged if name not in received]
    score.zero(PROMISE, "events not delivered", len(missing), n)
    score.zero(PROMISE, "deliveries left undone", sum(left.values()), n)
    found = await consistency.inspect(up.store)
    score.zero(PROMISE, "contradictions in Redis afterwards", len(found.contradictions), found.events)
    score.zero(
        PROMISE, "processes that did not live through it", len(up.world.check()), len(up.world.processes)
    )
    if verdict.late_clients:
        score.notes.append(f"{len(verdict.late_clients)} deaths of clients that were late themselves")
    score.notes += found.contradictions[:3]
    return score

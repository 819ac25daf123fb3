"""The collector is down for ten times the longest timeout, and nobody healthy is called dead."""

import asyncio
import contextlib

from chaos import ledger
from chaos.healthy import Fleet, Member, Verdict, judge
from chaos.history import History, StreamEvent
from chaos.rig import plain_redis
from chaos.rows import percentile
from chaos.score import Context, Score
from chaos.wire import Wire
from chaos.world import World
from shared.connection import Store, connect

NAME = "blindness"
PROMISE = "Our own blindness is not their death"
WEIGHT = 1.5
LEAST = 30.0
FULL = 290.0

LONGEST = 15.0
"""Seconds: the longest timeout of a full run; less when the budget is smaller, the outage is ten times as long."""
GRACE = 0.5
CONNECTIONS = 1_000
"""At once: clients do not wait for one another. With fewer they do, in their own process, when answers take long."""
DIE_MEANWHILE = 0.02
DIE_AFTERWARDS = 0.05
FOUND_WITHIN = 3.0


async def run(context: Context) -> Score:
    """Beats, an outage, beats again, and then some silence that is real.

    1. Healthy clients with random timeouts, periods and phases beat, until all are alive.
    2. The collector is killed for ten times the longest timeout; some clients die meanwhile.
    3. It returns; each client beats when its own time has come. Nobody but the dead may die.
    4. Some more fall silent, and are found in time.
    """
    longest = min(LONGEST, (context.budget - 8) / 17)
    count = context.count(10_000, least=600)
    folder = context.folder
    async with contextlib.AsyncExitStack() as stack:
        url = await stack.enter_async_context(plain_redis(folder / "redis"))
        history = stack.enter_context(History(folder / "history.jsonl"))
        world = await stack.enter_async_context(World(folder, url, history))
        await world.start("collector", "watchdog")
        store = Store(connect(url))
        stack.push_async_callback(store.redis.aclose)
        wire = await stack.enter_async_context(Wire(world.ports["collector"], connections=CONNECTIONS))
        fleet = Fleet(store, wire, context.rng)
        await fleet.make(count, (longest / 3, longest), grace=GRACE)
        fleet.begin()
        stack.push_async_callback(fleet.end)
        await asyncio.sleep(1.5 * longest)
        outage = await _outage(world, fleet, context, 10.2 * longest)
        await asyncio.sleep(2.5 * longest)
        living = [one for one in fleet.members if one.silenced is None]
        fleet.silence(context.rng.sample(living, round(DIE_AFTERWARDS * count)))
        await asyncio.sleep(longest + GRACE + FOUND_WITHIN)
        await fleet.end()
        events = await ledger.stream(store)
        gaps = await ledger.gaps(store)
        verdict = judge(fleet.members, events, gaps)
        members = {one.id: one for one in fleet.members}
        false = [_around(members[death.monitor], death.at) for death in verdict.false]
        history.note(gaps=gaps, outage=outage, surprises=world.check(), false=false)
        beats = sum(len(one.acknowledged) for one in fleet.members)
        return score(verdict, events, outage, count, longest, beats)


def _around(one: Member, death: float) -> dict[str, object]:
    """What a client did about the time of its false death, for whoever looks into it."""
    near = one.allowed + 1_000
    return {
        "monitor": one.id,
        "dead": death,
        "allowed": one.allowed,
        "sent": [at for at in one.sent if abs(at - death) < near],
        "acknowledged": [at for at in one.acknowledged if abs(at - death) < near],
    }


async def _outage(world: World, fleet: Fleet, context: Context, seconds: float) -> tuple[float, float]:
    """Kills the collector and brings it back; returns how long nobody listened and how long that should be."""
    await world.kill("collector")
    fleet.silence(context.rng.sample(fleet.members, round(DIE_MEANWHILE * len(fleet.members))))
    began = asyncio.get_running_loop().time()
    await asyncio.sleep(seconds)
    await world.start("collector")
    return asyncio.get_running_loop().time() - began, seconds


def score(
    verdict: Verdict,
    events: list[StreamEvent],
    outage: tuple[float, float],
    count: int,
    longest: float,
    beats: int,
) -> Score:
    """The rows of what was seen."""
    result = Score()
    blind = [event for event in events if event.type == "system.blind"]
    result.zero(PROMISE, "healthy monitors called dead", len(verdict.false), count)
    result.exactly(PROMISE, "`system.blind` events of one outage", len(blind), 1, 1)
    silent = len(verdict.missed) + len(verdict.lags)
    result.zero(PROMISE, "silent monitors missed, in the outage and after it", len(verdict.missed), silent)
    late = percentile(verdict.lags, 0.99) / 1000
    result.at_most(PROMISE, "their detection after the deadline, p99", late, 1.0, silent, " s")
    result.notes.append(
        f"ingest was down for {outage[0]:.0f} s, the longest timeout was {longest:.1f} s; "
        f"{beats:,} beats were acknowledged; clients never retried"
    )
    if verdict.late_clients:
        result.notes.append(
            f"{len(verdict.late_clients)} deaths were of clients that were late themselves "
            "(the machine was busy); they are not counted"
        )
    return result

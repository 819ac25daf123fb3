"""100,000 monitors die at one moment, one channel has all of them, and heartbeats of others go on.

    python bench/mass_death.py [monitors]

Goals: all transitions recorded within 3 s, no script call above 5 ms; the channel gets 5 messages and then digests; the
p99 of the heartbeats at most 3 times what it was before, while the deaths are recorded and while they are told. Every
service of the Compose file is there as a real process. Beside it stands the least that so many deaths can take on this
machine.
"""

import asyncio
import random
import sys
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager

import machine
import slow
import uvloop
from ground import make_durable, process, serving, settings_for
from load import Load, Wrk, beats, may_go_first
from loading import LONG, fill, new
from receiving import receive, seen
from report import Measure, progress, report
from running import SERVICES, Running, running
from storm import add_channels

from services.watchdog import transitions
from shared import delivery_history, keys
from shared.connection import Store, connect
from shared.events import unpacked
from shared.monitors import NewMonitor
from shared.settings import Settings

OTHERS = 1_000
"""Monitors that live on, and their heartbeats per second."""
RATE = 1_000
CONNECTIONS = 512
"""Far more than heartbeats that are ever answered late: who waits keeps nobody else from being sent."""
WATCHED = 10
"""Seconds for which the heartbeats' latency is looked at, before the deaths and when they are recorded."""
RECORDING = 3
"""The same from the deadline on, while they are recorded: what that may take."""
WELL_FOR = 3 * 86_400_000
"""Ms since the last change of those who die."""
LATE_MS = 4_000
"""How late the hint of a long timeout may be, as `lasts` in monitor.lua says it."""
LEAD = 0.3
"""Seconds before the deadline at which those who send heartbeats then connect."""
SINGLES = 5
"""Messages that a channel gets one by one before what follows is put into digests."""
WITHIN = 300
"""Seconds after which the digests should long have come."""

BARE = """
for i = 3, #KEYS do
  redis.call('HSET', KEYS[i], 'since', ARGV[1])
  redis.call('XADD', KEYS[1], '*', 'record', ARGV[2])
end
redis.call('ZADD', KEYS[2], unpack(ARGV, 3))
"""
"""The least that a death can be: a field, an event, a deadline. Nothing is read, checked or put together."""
RECORD = "r" * 150
"""About as long as a death's event."""


async def bare(store: Store, ids: list[str], since: int) -> float:
    """Seconds for as many deaths of that kind, in calls as large as the watchdog's."""
    script = store.redis.register_script(BARE)
    names = [f"mp:{{0}}:bare:{kind}" for kind in ("events", "deadlines")]
    began = time.perf_counter()
    for start in range(0, len(ids), transitions.BATCH):
        part = ids[start : start + transitions.BATCH]
        deadlines = [item for name in part for item in ("inf", name)]
        await script([*names, *[keys.monitor(0, name) for name in part]], [since, RECORD, *deadlines])
    took = time.perf_counter() - began
    await store.redis.unlink(*names)
    return took


async def doom(store: Store, ids: list[str], at: int) -> None:
    """Moves the deadlines of all `ids` to one moment, and the hints up to 4 s behind it, as `lasts` says.

    They were well for some days.
    """
    chance = random.Random(at)
    for start in range(0, len(ids), 1_000):
        part = ids[start : start + 1_000]
        pipe = store.redis.pipeline(transaction=False)
        pipe.zadd(keys.deadlines(0), dict.fromkeys(part, at))
        for name in part:
            pipe.pexpireat(keys.pulse(0, name), at + chance.randrange(LATE_MS))
            pipe.hset(keys.monitor(0, name), "since", at - WELL_FOR)
        await pipe.execute()


async def recorded(store: Store, count: int) -> float:
    """The ms at which the last of `count` deaths was recorded; asking costs the server nothing meanwhile."""
    while await store.redis.zcount(keys.deadlines(0), "inf", "inf") < count:  # noqa: ASYNC110 - a server has no event
        await asyncio.sleep(0.25)
    newest = await store.redis.xrevrange(keys.events(0), count=1_000)
    events = [unpacked(fields) for _, fields in newest]
    return float(next(event["at"] for event in events if event["type"] == "monitor.dead"))


async def heartbeats(port: int, count: int, seconds: int) -> Load:
    """The latency of the heartbeats of those who live, for a while."""
    load = Wrk(port, beats(range(count, count + OTHERS)), seconds, CONNECTIONS, rate=RATE, first=True)
    return await asyncio.to_thread(load.result)


async def in_a_storm(port: int, count: int) -> tuple[Load, Load]:
    """Their latency while deaths are recorded, and from then on."""
    return await heartbeats(port, count, RECORDING), await heartbeats(port, count, WATCHED)


async def delivered(store: Store, target: str, count: int, began: float) -> float:
    """How many seconds after `began` all deliveries had succeeded."""
    while True:
        (stats,) = await delivery_history.stats(store, [target])
        progress("told", min(stats.success_count, count), count)
        if stats.success_count >= count:
            return time.time() - began
        if time.time() - began > WITHIN:
            raise TimeoutError(f"{stats.success_count} of {count} told")
        await asyncio.sleep(1)


@asynccontextmanager
async def scene(count: int) -> AsyncIterator[tuple[Store, Settings, list[str]]]:
    """A server with `count` monitors that will die and others that will not."""
    with serving(options=("--appendonly", "no")) as server:
        settings = settings_for(server.url)

        def make(number: int) -> NewMonitor:
            return (
                NewMonitor(name=f"m{number}", timeout=LONG, channels="*") if number < count else new(number)
            )

        ids = fill(server.url, range(count + OTHERS), make)[:count]
        store = Store(connect(server.url))
        await make_durable(store)
        try:
            yield store, settings, ids
        finally:
            await store.redis.aclose()


async def happens(
    store: Store, ids: list[str], target: str, collector: Running
) -> tuple[float, float, list[Load], slow.Longest]:
    """Seconds until all deaths were recorded and until all were told, the latencies, and the longest calls."""
    await heartbeats(collector.port, len(ids), WATCHED)
    before = await heartbeats(collector.port, len(ids), WATCHED)
    seconds, _ = await store.redis.time()
    at = (int(seconds) + 4) * 1000
    await doom(store, ids, at)
    await slow.watch(store)
    await asyncio.sleep(max(0.0, at / 1000 - LEAD - time.time()))
    during = asyncio.create_task(in_a_storm(collector.port, len(ids)))
    last = await recorded(store, len(ids))
    told = await delivered(store, target, len(ids), at / 1000)
    longest = await slow.longest(store)
    return (last - at) / 1000, told, [before, *await during], longest


async def main(count: int) -> None:
    stopped = machine.longest_stop(WATCHED)
    with process(receive) as port, ExitStack() as stack:
        async with scene(count) as (store, settings, ids):
            (channel,) = await add_channels(store, settings, port, 1)
            least = await bare(store, ids, round(time.time() * 1000) - WELL_FOR)
            services = {name: stack.enter_context(running(name, settings)) for name in SERVICES}
            took, told, loads, longest = await happens(
                store, ids, f"channel:{channel}", services["collector"]
            )
            messages = [members for _, members in await seen(port)]
            stack.close()
    singles, digests = messages.count(1), [one for one in messages if one > 1]
    if singles + sum(digests) != count:
        raise RuntimeError(f"{singles + sum(digests)} deaths were told, not {count}")
    report(
        f"{count:,} deaths at one moment, {RATE:,} heartbeats/s of others meanwhile, n = 1",
        [
            Measure("last death recorded", f"{took:.2f} s after the deadline", took, 3),
            Measure("a field, an event and a deadline for each, alone", f"{least:.2f} s"),
            Measure("longest script call", str(longest), longest.ms, 5),
            Measure(
                "what sends heartbeats waits for a core", "never" if may_go_first() else "as the services do"
            ),
            Measure("a process alone was stopped for", f"{stopped:.1f} ms at most, in {WATCHED} s"),
            Measure(
                f"messages one by one, off from {SINGLES} by",
                f"{abs(singles - SINGLES)}: {singles} came",
                abs(singles - SINGLES),
                0,
            ),
            Measure("members of the digests", f"{sum(digests):,} in {len(digests)}: {digests}"),
            Measure("told of all", f"{told:.0f} s after the deadline"),
            *[
                Measure(f"heartbeats' p99 while deaths are {what}", *latency(loads[0], load), 3)
                for what, load in zip(("recorded", "told"), loads[1:], strict=True)
            ],
        ],
    )


def latency(before: Load, during: Load) -> tuple[str, float]:
    """The p99 in words, and as a multiple of what it was before."""
    ratio = during.p99 / before.p99
    p99 = f"{before.p99:.1f} ms before, {during.p99:.1f} ms meanwhile: ratio {ratio:.1f}"
    return f"{p99}; at worst {before.worst:.0f} and {during.worst:.0f} ms", ratio


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000))

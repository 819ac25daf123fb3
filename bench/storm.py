"""1,000 monitors die at once, each with a webhook channel of its own: when the last of them was told.

    python bench/storm.py [monitors] [rounds]

Goal: the last delivery at most 2 s after the deadline. Every service of the
Compose file and a receiver, each a real process.
"""

import asyncio
import statistics
import sys
from contextlib import ExitStack

import uvloop
from detection import dying
from ground import fresh_store, percentile, process
from loading import fill
from receiving import receive, seen
from report import Measure, progress, report
from running import SERVICES, running

from shared import channels, channels_store
from shared.channels import Channel
from shared.connection import Store
from shared.monitors import NewMonitor
from shared.secrets import load_key
from shared.settings import Settings

SILENCE_MS = 2_000


async def add_channels(
    store: Store, settings: Settings, port: int, count: int, wanted: tuple[str, ...] = ("monitor.dead",)
) -> list[int]:
    """Webhook channels that are told of events of the types in `wanted`."""
    box = load_key(settings.secret_key, None)
    made = []
    for number in range(count):

        def make(channel_id: int, now: int, number: int = number) -> Channel:
            config = {"url": f"http://127.0.0.1:{port}/{number}", "secret": "s" * 24}
            sealed = channels.seal("webhook", config, channel_id, box)
            return Channel(channel_id, f"c{number}", "webhook", sealed, wanted, created_at=now)

        made.append((await channels_store.add(store, make)).id)
    return made


async def told(port: int, count: int) -> list[float]:
    """When each of `count` messages came."""
    found: list[float] = []
    async with asyncio.timeout(120):
        while len(found) < count:
            await asyncio.sleep(0.1)
            found += [at for at, _ in await seen(port)]
    return found


async def main(count: int, rounds: int) -> None:
    last, deaths, typical = [], [], []
    with process(receive) as port:
        async with fresh_store() as (store, settings):
            ids = await add_channels(store, settings, port, count)
            with ExitStack() as stack:
                for name in SERVICES:
                    stack.enter_context(running(name, settings))

                def make(number: int) -> NewMonitor:
                    return NewMonitor(name=f"m{number}", timeout=SILENCE_MS, channels=str(ids[number]))

                names = fill(settings.redis_url, range(count), make, quiet=True)
                await told(port, count)  # the first round warms everything up
                for done in range(rounds):
                    lags, due = await dying(store, names)
                    came = await told(port, count)
                    deadline = max(due) / 1000
                    deaths.append(max(lags))
                    typical.append(percentile(came, 0.5) - deadline)
                    last.append(max(came) - deadline)
                    progress("rounds", done + 1, rounds)
    worst = max(last)
    report(
        f"{count:,} deaths at once, a webhook channel each, n = {rounds} rounds",
        [
            Measure("last death recorded", f"{max(deaths):,.0f} ms after its deadline at worst"),
            Measure("half of them told", f"{statistics.median(typical):.2f} s after the deadline"),
            Measure("last one told", f"{statistics.median(last):.2f} s, at worst {worst:.2f} s", worst, 2),
        ],
    )


if __name__ == "__main__":
    numbers = [int(text) for text in sys.argv[1:]]
    uvloop.run(main(numbers[0] if numbers else 1_000, numbers[1] if len(numbers) > 1 else 5))

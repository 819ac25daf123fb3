"""The links of the self-ping, each broken and mended by name, and the outside that waits for its beats.

An alarm is due when no beat came for two and a half intervals, as docs/operations.md says; it must be raised within
three of the moment at which a link broke.
"""

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final, Literal

from doubles.receiver import Receiver
from servers import Server, binaries

from chaos import leash
from chaos.history import History
from chaos.world import World

LINKS: Final = ("collector", "watchdog", "notifier", "redis")
Way = Literal["kill", "stall"]
WAYS: Final[tuple[Way, ...]] = ("kill", "stall")


class Redis(Server):
    """A server that ends with the campaign and keeps its data over kills."""

    def spawn(self, arguments: list[str]) -> subprocess.Popen[bytes]:
        return leash.start(arguments, log=self.folder / "log")

    def start(self, *options: str) -> None:
        super().start("--appendonly", "yes", *options)


@dataclass
class Chain:
    """One installation with a self-ping every `interval` seconds."""

    interval: float
    world: World
    redis: Redis
    outside: Receiver

    @property
    def patience(self) -> float:
        """Seconds without a beat after which the outside raises its alarm."""
        return 2.5 * self.interval

    @property
    def bound(self) -> float:
        """Seconds from a broken link to the alarm, at most."""
        return 3 * self.interval

    @property
    def beats(self) -> list[float]:
        """When the outside heard of us, in Unix seconds."""
        return [float(one["at"]) for one in self.outside.journal.received]

    async def heard(self, count: int) -> list[float]:
        """Waits for the next `count` beats; raises when they do not come. Half of the rounds may fail."""
        before = len(self.beats)
        deadline = time.time() + (2 * count + 2) * self.interval + 20
        while len(self.beats) < before + count:
            if time.time() > deadline:
                raise TimeoutError(
                    f"{len(self.beats) - before} of {count} beats:\n{self.world.tail('notifier')}"
                )
            await asyncio.sleep(0.02)
        return self.beats[before:]

    def false_alarms(self, beats: Sequence[float]) -> int:
        """How often the outside would have raised its alarm between these beats."""
        return sum(later - earlier > self.patience for earlier, later in pairwise(beats))

    async def break_link(self, link: str, way: Way) -> float:
        """Kills or stops a link for good; the moment before it, in Unix seconds."""
        moment = time.time()
        if way == "stall":
            os.kill(self._pid(link), signal.SIGSTOP)
        elif link == "redis":
            await asyncio.to_thread(self.redis.stop, kill=True)
        else:
            await self.world.kill(link)
        return moment

    async def mend(self, link: str, way: Way) -> None:
        """Brings a link back."""
        if way == "stall":
            os.kill(self._pid(link), signal.SIGCONT)
        elif link == "redis":
            await asyncio.to_thread(self.redis.start)
        else:
            await self.world.start(link)

    def _pid(self, link: str) -> int:
        process = self.redis.process if link == "redis" else self.world.processes[link].handle
        assert process is not None
        return process.pid

    async def alarm(self, broken: float) -> float:
        """Waits for the outside's alarm; how many seconds after `broken` it was raised.

        Infinite when beats go on as if nothing had happened.
        """
        while time.time() < max(self.beats) + self.patience:
            if max(self.beats) > broken + self.bound:
                return float("inf")
            await asyncio.sleep(0.02)
        return max(self.beats) + self.patience - broken


@asynccontextmanager
async def chain(folder: Path, interval: float) -> AsyncIterator[Chain]:
    """Redis, collector, watchdog and notifier, and nothing else, told of to an outside."""
    found = binaries()
    name = "redis-server" if "redis-server" in found else "valkey"
    async with AsyncExitStack() as stack:
        place = folder / "redis"
        place.mkdir(parents=True)
        redis = Redis(name, found[name], place)
        stack.callback(redis.stop, kill=True)
        await asyncio.to_thread(redis.start)
        outside = await stack.enter_async_context(Receiver())
        history = stack.enter_context(History(folder / "history.jsonl"))
        world = World(folder, redis.url, history)
        world.settings = {
            "PULSE_SELF_PING_URL": f"{outside.url}/outside",
            "PULSE_SELF_PING_INTERVAL": f"{interval:g}",
            "PULSE_COLLECTOR_URL": world.url("collector"),
        }
        await stack.enter_async_context(world)
        await world.start("collector", "watchdog", "notifier")
        yield Chain(interval, world, redis, outside)

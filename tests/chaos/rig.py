"""Everything that most scenarios start with: one Redis, the processes, receivers, load and history around it."""

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import redis as blocking
from servers import binaries

from chaos import leash, ledger
from chaos.history import Facts, History, now_ms
from chaos.receivers import Receivers
from chaos.score import Context
from chaos.workload import Load, Workload
from chaos.world import World
from shared.connection import Store, connect

USUAL = ("collector", "admin", "webhooks", "watchdog", "notifier", "webhooks-worker")
STARVED_MS = 1_000.0
"""A receiver that stands still for longer may answer when its sender has given up."""
FALLEN_SILENT = 6.0
"""Seconds after the load in which every monitor that was heard has to be found dead, beyond the longest timeout."""


@asynccontextmanager
async def plain_redis(folder: Path, *options: str) -> AsyncIterator[str]:
    """A Redis (or Valkey) of its own with AOF and `everysec`, on a unix socket; its URL."""
    folder.mkdir(parents=True, exist_ok=True)  # noqa: ASYNC240 - once, before anything runs
    found = binaries()
    binary = found.get("redis-server") or found["valkey"]
    socket = folder / "socket"
    place = ["--port", "0", "--unixsocket", str(socket), "--dir", str(folder)]
    quiet = ["--save", "", "--loglevel", "warning"]
    aof = ["--appendonly", "yes", "--appendfsync", "everysec"]
    command = [binary, *place, *quiet, *aof, *options]
    process = leash.start(command, log=folder / "redis.log")
    url = f"unix://{socket}?db=0"
    try:
        client = blocking.Redis.from_url(url)
        for _ in range(400):
            with contextlib.suppress(blocking.ConnectionError):
                client.ping()
                break
            await asyncio.sleep(0.025)
        client.close()
        yield url
    finally:
        process.terminate()
        await asyncio.to_thread(process.wait, 10)


@dataclass(slots=True)
class Rig:
    """A running installation under test. `store` goes to Redis directly, past any proxy."""

    world: World
    history: History
    receivers: Receivers
    workload: Workload
    store: Store
    tail: ledger.Tail
    following: asyncio.Task[None]

    def stop_following(self) -> None:
        """Leaves the streams alone: for runs that are too long to keep every event."""
        self.following.cancel()

    @property
    def facts(self) -> Facts:
        return self.history.facts

    async def drained(self, timeout: float) -> dict[str, int]:
        """Waits until every event is read and every delivery worked off; what is left after `timeout` seconds."""
        deadline = now_ms() + timeout * 1000
        calm = 0
        while True:
            left = await ledger.unfinished(self.store, sorted(self.facts.subscriptions))
            calm = 0 if left else calm + 1
            if calm >= 3 or now_ms() > deadline:
                return left
            await asyncio.sleep(0.1)

    async def settle(self, *, drain: float = 60.0) -> Facts:
        """After the load: lets silent monitors die and deliveries arrive, then completes the history.

        `facts.letters` tells what is still pending when `drain` seconds did not suffice.
        """
        longest = max((one.timeout for one in self.workload.monitors), default=0.0)
        await asyncio.sleep(longest + FALLEN_SILENT)
        await self.drained(drain)
        self.facts.ended = now_ms()
        facts = await ledger.collect(self.store, self.tail, self.history)
        summary = {
            "gaps": facts.gaps,
            "vanished": facts.vanished,
            "subscriptions": facts.subscriptions,
            "counts": facts.counts,
            "ended": facts.ended,
        }
        self.history.note(summary=summary)
        return facts


async def _note_starvation(history: History) -> None:
    """Notes when this process, and so every receiver in it, did not run for a while: a fault of the machine."""
    while True:
        before = now_ms()
        await asyncio.sleep(0.1)
        if now_ms() - before > STARVED_MS:
            history.fault("starved", "machine", before, now_ms())


@asynccontextmanager
async def rig(
    context: Context,
    load: Load,
    *,
    redis_url: str = "",
    direct_url: str = "",
    queue_url: str = "",
    shards: int = 1,
    names: Sequence[str] = USUAL,
    settings: Mapping[str, str] | None = None,
    history: type[History] = History,
) -> AsyncIterator[Rig]:
    """A whole installation with its channels, webhooks and monitors made; the load is not begun.

    `redis_url` is what the processes are given (empty: a Redis of its own is started); `direct_url` is how the campaign
    itself reaches the same server when that URL leads through a proxy.
    """
    folder = context.folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    async with contextlib.AsyncExitStack() as stack:
        if not redis_url:
            redis_url = await stack.enter_async_context(plain_redis(folder / "redis"))
        noted = stack.enter_context(history(folder / "history.jsonl"))
        receivers = await stack.enter_async_context(Receivers(noted))
        own = {"PULSE_SHARDS": str(shards), **(settings or {})}
        world = World(folder, redis_url, noted, queue_url, own)
        await stack.enter_async_context(world)
        await world.start(*names)
        store = Store(connect(direct_url or redis_url), shards)
        stack.push_async_callback(store.redis.aclose)
        workload = Workload(world, receivers, noted, load, context.rng)
        stack.push_async_callback(workload.client.close)
        await workload.set_up()
        tail = ledger.Tail(store)
        following = asyncio.create_task(tail.follow())
        watching = asyncio.create_task(_note_starvation(noted))
        try:
            yield Rig(world, noted, receivers, workload, store, tail, following)
        finally:
            for task in (following, watching):
                task.cancel()
            await asyncio.gather(following, watching, return_exceptions=True)

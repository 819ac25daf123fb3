"""`mishpulse up`: an embedded Valkey, one HTTP process, one process per worker, as one group on one port."""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import sys
import time
from asyncio.subprocess import Process
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from services import demo, process
from services.datafolder import DataFolder
from services.embedded import Embedded, find_binary
from services.screen import Screen
from services.supervisor import Keeper, stop_all
from shared import logs
from shared.auth import ensure_admin_token
from shared.connection import Store
from shared.errors import PulseError
from shared.health import MULTIPROCESS
from shared.secrets import load_key
from shared.settings import Settings

log = structlog.get_logger(__name__)

START_WITHIN: Final = 60.0
"""Seconds for the services to answer once their data is loaded: thirty times what a slow machine needs."""
FRUITLESS: Final = 3
"""Ends of one process before the group was ever ready, after which it is no use trying."""
HTTP_WITHIN: Final = 3.0
WORKERS_WITHIN: Final = 7.5
ALL_WITHIN: Final = 9.5
"""Seconds after the signal by which each stage has ended; 10 are promised."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What `up` was asked to run."""

    settings: Settings
    host: str
    port: int
    data: Path
    demo: bool

    @property
    def embeds(self) -> bool:
        """Whether a Valkey is to be embedded: no other Redis was named."""
        return "redis_url" not in self.settings.model_fields_set


def run(plan: Plan) -> None:
    """Runs the group until SIGTERM, SIGINT or SIGHUP.

    1. Check everything that can be wrong: port, data folder, lock, key, binary, Redis. Nothing runs yet.
    2. Start Valkey and wait until it has loaded its data.
    3. Start the other processes; say so when /readyz answers 200.
    4. Keep all of them running.
    5. On the signal end HTTP first, then the workers, then Valkey, which writes its file out.
    """
    logs.setup("up", plan.settings.log_level)
    os.umask(0o077)  # what the group writes is nobody else's business
    with contextlib.ExitStack() as stack:
        folder = DataFolder(plan.data)
        listener = stack.enter_context(_listen(plan, folder))
        if not plan.embeds:
            asyncio.run(_reach(plan.settings))
        stack.enter_context(folder.taken())
        key_file = Path(plan.settings.secret_key_file or folder.key_file)
        load_key(plan.settings.secret_key, key_file, create=True)
        valkey = Embedded(find_binary(), folder.path, folder.runtime) if plan.embeds else None
        asyncio.run(Group(plan, folder, listener, key_file, valkey).run())


def _listen(plan: Plan, folder: DataFolder) -> socket.socket:
    """The port, for which the last processes of a start that was killed are given a moment."""
    end = time.monotonic() + (2.0 if folder.was_killed() else 0.0)
    while True:
        try:
            return process.listen(plan.host, plan.port)
        except PulseError as error:
            if time.monotonic() > end or not isinstance(error.__cause__, OSError):
                raise
            time.sleep(0.05)


async def _reach(settings: Settings) -> None:
    """Fails when the Redis that was named does not answer."""
    store = await process.open_reachable(settings)
    await store.redis.aclose()


class Group:
    """The processes of one `up`."""

    def __init__(
        self, plan: Plan, folder: DataFolder, listener: socket.socket, key_file: Path, valkey: Embedded | None
    ) -> None:
        self.plan = plan
        self.folder = folder
        self.listener = listener
        self.valkey = valkey
        self.screen = Screen(listener)
        self.stop = asyncio.Event()
        self.settings = plan.settings.model_copy(update={"redis_url": valkey.url} if valkey else {})
        self.environment = self._environment(key_file)
        self.server = [Keeper("valkey", valkey.spawn)] if valkey else []
        self.http = self._keeper(process.COMPOSITE, str(listener.fileno()))
        self.workers = [self._keeper(name) for name in process.WORKERS]
        self.curl: str | None = None
        self._leash: int = -1
        self._held: int = -1

    def _environment(self, key_file: Path) -> dict[str, str]:
        """What the processes inherit; the import path too, so that they run the very same code."""
        return {
            **os.environ,
            "PULSE_REDIS_URL": self.settings.redis_url,
            "PULSE_SECRET_KEY_FILE": str(key_file),
            "PULSE_PUBLIC_URL": self.settings.public_url or self.screen.for_links,
            "PULSE_COLLECTOR_URL": self.screen.url,
            "PULSE_METRICS_PORT": "0",
            MULTIPROCESS: str(self.folder.metrics),
            "PYTHONPATH": os.pathsep.join(str(Path(entry).absolute()) for entry in sys.path),
        }

    def _keeper(self, name: str, listener: str = "-1") -> Keeper:
        async def spawn() -> Process:
            return await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", "services.cli", "child", name, "--listener", listener),
                stdin=self._leash,
                env=self.environment,
                pass_fds=(self.listener.fileno(),) if name == process.COMPOSITE else (),
            )

        return Keeper(name, spawn, lambda: self._forget(name))

    def _forget(self, name: str) -> None:
        """Takes the gauges of a process that ended out of the group's metrics; its counters stay."""
        for path in self.folder.metrics.glob(f"gauge_live*_{name}.db"):
            path.unlink(missing_ok=True)

    async def run(self) -> None:
        """Starts, keeps and ends the processes, as `run` above says."""
        loop = asyncio.get_running_loop()
        numbers = [signal.SIGTERM, signal.SIGINT]
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # under nohup it is
            numbers.append(signal.SIGHUP)
        for number in numbers:
            loop.add_signal_handler(number, self.stop.set)
        self._leash, self._held = os.pipe()
        try:
            await self._until_stopped(self._start())
            if not self.stop.is_set():
                self.screen.ready([*self.server, self.http, *self.workers], self.curl)
            await self.stop.wait()
        finally:
            await self._end()
        log.info("stopped")

    async def _until_stopped(self, starting: Coroutine[None, None, None]) -> None:
        """Awaits `starting`, but no longer than until the signal to stop."""
        task = asyncio.create_task(starting)
        stopped = asyncio.create_task(self.stop.wait())
        await asyncio.wait([task, stopped], return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if not task.done():
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    async def _start(self) -> None:
        self.screen.starting()
        if self.valkey:
            await self._start_valkey(self.valkey)
        self.folder.note_addresses(self.settings.redis_url, self.screen.url)
        store = await process.open_reachable(self.settings)
        try:
            await self._first_start(store)
        finally:
            await store.redis.aclose()
        for keeper in (self.http, *self.workers):
            keeper.start()
        end = time.monotonic() + START_WITHIN
        while not await self.screen.answers():
            hopeless = [k.name for k in (self.http, *self.workers) if k.ends >= FRUITLESS]
            if hopeless or time.monotonic() > end:
                which = ", ".join(hopeless) or "the services"
                raise PulseError(f"{which} did not start; the lines above say why")
            await asyncio.sleep(0.05)

    async def _start_valkey(self, valkey: Embedded) -> None:
        self.server[0].start()
        while not await valkey.answers():
            if self.server[0].ends:
                why = valkey.said[-1] if valkey.said else self.server[0].status
                raise PulseError(f"the embedded Valkey did not start: {why}")
            await asyncio.sleep(0.02)

    async def _first_start(self, store: Store) -> None:
        """What only the first start on this data does: the admin token and the demo monitor."""
        token = None if self.settings.admin_token else await ensure_admin_token(store)
        if token:
            self.screen.admin_token(token)
        demo_token = await demo.token(store, self.folder.demo_file) if self.plan.demo else None
        self.curl = demo.curl(self.settings.public_url or self.screen.url, demo_token) if demo_token else None

    async def _end(self) -> None:
        began = time.monotonic()

        def left(within: float) -> float:
            return began + within - time.monotonic()

        self.screen.stopping()
        for keeper in (self.http, *self.workers, *self.server):
            keeper.leave()  # the signal may have reached them all
        self.listener.close()
        await self.http.stop(left(HTTP_WITHIN))
        await stop_all(self.workers, left(WORKERS_WITHIN))
        if self.valkey:
            self.valkey.ready = False  # what it says of its end is of no interest
        await stop_all(self.server, left(ALL_WITHIN))
        if self.valkey:
            self.valkey.clear()
        os.close(self._held)
        os.close(self._leash)
        shutil.rmtree(self.folder.metrics, ignore_errors=True)

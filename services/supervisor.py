"""Keeping processes alive: each is started again when it ends, and all end when told to."""

import asyncio
import contextlib
import signal
import time
from asyncio.subprocess import Process
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import structlog

from shared.errors import PulseError

log = structlog.get_logger(__name__)

FIRST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 10.0
"""Seconds before a process is started again: doubled each time it ends early, up to a load nobody notices."""
SETTLED: Final = 10.0
"""A process that lived for so many seconds had started well: its next pause is the first again."""


class Keeper:
    """Keeps one process running: `spawn` starts it, `on_end` clears up after it.

    `ends` counts how often it ended by itself; `status` says how it did last: its exit status, negative for a signal,
    or why it did not start.

    starting → running → (ended) → pause → starting …
                  └ stop() → ended
    """

    def __init__(
        self, name: str, spawn: Callable[[], Awaitable[Process]], on_end: Callable[[], None] = lambda: None
    ) -> None:
        self.name = name
        self.process: Process | None = None
        self.ends = 0
        self.status: int | str = 0
        self._spawn = spawn
        self._on_end = on_end
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins to keep it running."""
        self._task = asyncio.create_task(self._keep(), name=self.name)

    async def _keep(self) -> None:
        pause = FIRST_PAUSE
        while not self._stopping.is_set():
            began = time.monotonic()
            self.status = await self._live()
            if self._stopping.is_set():
                return
            self.ends += 1
            pause = FIRST_PAUSE if time.monotonic() - began > SETTLED else pause
            log.warning(
                "process ended; starting it again", process=self.name, status=self.status, pause=pause
            )
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._stopping.wait()
            pause = min(pause * 2, LONGEST_PAUSE)

    async def _live(self) -> int | str:
        """Starts it and waits for its end; its `status`."""
        try:
            self.process = await self._spawn()
        except (OSError, PulseError) as error:
            return str(error)
        if self._stopping.is_set():
            self._signal(signal.SIGTERM)
        status = await self.process.wait()
        self.process = None
        self._on_end()
        return status

    def _signal(self, number: signal.Signals) -> None:
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(number)

    def leave(self) -> None:
        """Starts it no more when it ends."""
        self._stopping.set()

    async def stop(self, within: float) -> None:
        """Ends it: SIGTERM, and after `within` seconds SIGKILL."""
        self.leave()
        if self._task is None:
            return
        self._signal(signal.SIGTERM)
        done, _ = await asyncio.wait([self._task], timeout=max(0.0, within))
        if not done:
            log.warning("process did not end in time; killed", process=self.name)
            self._signal(signal.SIGKILL)
            await self._task


async def stop_all(keepers: Sequence[Keeper], within: float) -> None:
    """Ends them together."""
    await asyncio.gather(*(keeper.stop(within) for keeper in keepers))

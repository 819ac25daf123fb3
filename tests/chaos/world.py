"""The real processes of one installation, each started, killed, stalled and waited for by name.

A name is a service (`collector`, `watchdog`, `notifier`, `webhooks`, `webhooks-worker`, `admin`) or one of its
replicas (`watchdog#2`). HTTP services keep their port over restarts.
"""

import asyncio
import itertools
import math
import os
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import aiohttp

from chaos import leash, points
from chaos.history import History, now_ms

ROOT: Final = Path(__file__).resolve().parents[2]
ADMIN_TOKEN: Final = "chaos-admin-token-0123456789"
SECRET_KEY: Final = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
HTTP_SERVICES: Final = ("collector", "webhooks", "admin")
WORKERS: Final = ("watchdog", "notifier", "webhooks-worker")
SERVICES: Final = (*HTTP_SERVICES, *WORKERS)
READY_WITHIN: Final = 240.0
"""Seconds: starting takes one on a free machine; 35 were seen on two cores with a load of 20."""


PORTS: Final = itertools.count(20_000 + os.getpid() % 120 * 100)
"""Below the ports that outgoing connections take by chance; campaigns that run side by side begin apart."""


def free_port() -> int:
    """A port that nobody uses and that this process has not given out before: it is bound only later.

    A service that was killed needs it again at once.
    """
    for port in PORTS:
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("unreachable")


@dataclass(slots=True)
class Process:
    """One process; `expected` says that its end was asked for."""

    name: str
    port: int
    health: int
    handle: subprocess.Popen[bytes]
    expected: bool = False

    @property
    def service(self) -> str:
        return self.name.partition("#")[0]

    @property
    def pid(self) -> int:
        return self.handle.pid

    @property
    def lives(self) -> bool:
        return self.handle.poll() is None


@dataclass(slots=True)
class World:
    """An installation on `redis_url`. `settings` are `PULSE_…` variables for all its processes.

    `async with World(...) as world` ends every process at the end and asserts that none is left. `history` is told of
    each kill and stall.
    """

    folder: Path
    redis_url: str
    history: History
    queue_url: str = ""
    settings: dict[str, str] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)
    processes: dict[str, Process] = field(default_factory=dict)
    surprises: list[str] = field(default_factory=list)
    """Processes that ended although nobody asked: a crash of the product."""
    client: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.client = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.end()
        if self.client:
            await self.client.close()

    def url(self, service: str) -> str:
        """Where an HTTP service listens; the port is chosen once."""
        return f"http://127.0.0.1:{self.ports.setdefault(service, free_port())}"

    def urls(self, service: str) -> list[str]:
        """Where the replicas of an HTTP service listen that were ever started."""
        ports = [port for name, port in self.ports.items() if name.partition("#")[0] == service]
        return [f"http://127.0.0.1:{port}" for port in ports]

    def log(self, name: str) -> Path:
        """Where a process writes what it has to say, over all its lives."""
        return self.folder / f"{name.replace('#', '-')}.log"

    def environment(self, name: str, health: int, point: str, extra: dict[str, str]) -> dict[str, str]:
        """What a process is started with; no setting of the machine's own user gets in."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("PULSE_", "CHAOS_"))}
        own = {
            "PYTHONPATH": os.pathsep.join([str(ROOT / "tests"), str(ROOT)]),
            "PYTHONDONTWRITEBYTECODE": "",
            "PULSE_REDIS_URL": self.redis_url,
            "PULSE_QUEUE_REDIS_URL": self.queue_url,
            "PULSE_ADMIN_TOKEN": ADMIN_TOKEN,
            "PULSE_SECRET_KEY": SECRET_KEY,
            "PULSE_ALLOW_PRIVATE_TARGETS": "127.0.0.0/8",
            "PULSE_METRICS_PORT": str(health),
            "PULSE_LOG_LEVEL": "info",
        }
        trap = {points.VARIABLE: point} if point else {}
        return {**kept, **own, **self.settings, **trap, **extra}

    def spawn(self, name: str, *, point: str = "", **extra: str) -> Process:
        """Starts a process without waiting for it; `point` is where it shall kill itself (see `chaos.points`)."""
        previous = self.processes.get(name)
        assert previous is None or not previous.lives, f"{name} runs already"
        service = name.partition("#")[0]
        arguments = [sys.executable, "-m", "chaos.launch", service]
        port = 0
        if service in HTTP_SERVICES:
            self.url(name)
            port = self.ports[name]
            arguments += ["--port", str(port)]
        health = previous.health if previous else free_port()
        handle = leash.start(
            arguments, log=self.log(name), env=self.environment(name, health, point, extra), cwd=ROOT
        )
        self.processes[name] = Process(name, port, health, handle)
        return self.processes[name]

    async def start(self, *names: str, point: str = "", **extra: str) -> None:
        """Starts processes side by side and waits until each is ready."""
        for name in names:
            self.spawn(name, point=point, **extra)
        await asyncio.gather(*(self.ready(name) for name in names))

    async def ready(self, name: str, timeout: float = READY_WITHIN) -> None:
        """Waits until a process answers `/readyz`; raises when it ends instead, unless a point ended it."""
        process = self.processes[name]
        assert self.client is not None
        deadline = now_ms() + timeout * 1000
        while now_ms() < deadline:
            if not process.lives:
                if process.handle.returncode == -signal.SIGKILL:
                    return
                raise RuntimeError(f"{name} ended with {process.handle.returncode}:\n{self.tail(name)}")
            ready = await self._status(f"http://127.0.0.1:{process.health}/readyz") == 200
            if ready and (not process.port or await self._status(f"http://127.0.0.1:{process.port}/")):
                return
            await asyncio.sleep(0.03)
        raise TimeoutError(f"{name} is not ready within {timeout} s:\n{self.tail(name)}")

    async def _status(self, url: str) -> int:
        """The status of a GET, 0 when nobody answers."""
        assert self.client is not None
        try:
            async with self.client.get(url, allow_redirects=False) as answer:
                return answer.status
        except (aiohttp.ClientError, TimeoutError, OSError):
            return 0

    def tail(self, name: str, size: int = 2_000) -> str:
        """The end of a process's log."""
        text = self.log(name).read_text("utf-8", "replace") if self.log(name).exists() else ""
        return text[-size:]

    def signal(self, name: str, number: signal.Signals) -> None:
        """Sends a signal by the process's own id."""
        self.processes[name].handle.send_signal(number)

    async def kill(self, name: str) -> None:
        """Kills it with -9, and waits until it is gone."""
        process = self.processes[name]
        if not process.lives and process.handle.returncode != -signal.SIGKILL:
            self.surprises.append(f"{name}: status {process.handle.returncode}")
        process.expected = True
        process.handle.kill()
        self.history.fault("kill", name)
        await self._gone(process)

    async def died(self, name: str, timeout: float) -> bool:
        """Whether a process with a point has killed itself within `timeout` seconds."""
        process = self.processes[name]
        deadline = now_ms() + timeout * 1000
        while process.lives:
            if now_ms() > deadline:
                return False
            await asyncio.sleep(0.005)
        process.expected = True
        self.history.fault("kill", name)
        if process.handle.returncode != -signal.SIGKILL:
            self.surprises.append(f"{name}: status {process.handle.returncode}")
        return True

    def stall(self, name: str) -> None:
        """SIGSTOP: the process is there and does nothing, as on a frozen machine."""
        self.signal(name, signal.SIGSTOP)

    def resume(self, name: str) -> None:
        """SIGCONT."""
        self.signal(name, signal.SIGCONT)

    async def terminate(self, name: str, timeout: float = 12.0) -> float:
        """SIGTERM, as a deploy does; returns the seconds it took. A process still there after `timeout` is killed."""
        process = self.processes[name]
        process.expected = True
        began = now_ms()
        process.handle.terminate()
        deadline = began + timeout * 1000
        await self._gone(process, deadline)
        if process.lives:
            self.surprises.append(f"{name}: did not end within {timeout} s of SIGTERM")
            await self.kill(name)
        elif process.handle.returncode != 0:
            self.surprises.append(f"{name}: status {process.handle.returncode} after SIGTERM")
        self.history.fault("terminate", name, began, now_ms())
        return (now_ms() - began) / 1000

    async def restart(self, name: str, *, point: str = "", **extra: str) -> None:
        """Kills it with -9 if it lives, and starts it again."""
        if self.processes[name].lives:
            await self.kill(name)
        self.check()
        await self.start(name, point=point, **extra)

    def check(self) -> list[str]:
        """Notes processes that ended by themselves; returns all such so far."""
        for process in self.processes.values():
            if not process.lives and not process.expected:
                process.expected = True
                self.surprises.append(f"{process.name}: status {process.handle.returncode}")
        return self.surprises

    def rss(self, name: str) -> int:
        """Resident memory of a living process in bytes."""
        fields = Path(f"/proc/{self.processes[name].pid}/statm").read_text().split()
        return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")

    async def end(self) -> None:
        """Ends every process: SIGTERM for all at once, SIGKILL for what is left."""
        self.check()
        living = [process for process in self.processes.values() if process.lives]
        for process in living:
            process.expected = True
            process.handle.send_signal(signal.SIGCONT)
            process.handle.terminate()
        deadline = now_ms() + 12_000
        for process in living:
            await self._gone(process, deadline)
            if process.lives:
                self.surprises.append(f"{process.name}: did not end within 12 s of SIGTERM")
                process.handle.kill()
                await self._gone(process)
        left = [process.name for process in self.processes.values() if process.lives]
        assert not left, f"still there: {left}"

    async def _gone(self, process: Process, deadline: float = math.inf) -> None:
        """Until a process has ended, or the wall clock (ms) reaches `deadline`."""
        while process.lives and now_ms() < deadline:  # noqa: ASYNC110 - the kernel sets no Event
            await asyncio.sleep(0.002)

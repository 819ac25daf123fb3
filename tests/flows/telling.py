"""`mishpulse up` as a process group, and the people and machines that hear from it."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
from doubles.receiver import Receiver
from doubles.smtp import MailServer
from doubles.telegram import BotApi
from group import environment, free_port
from waiting import wait_until

ADMIN = "test-admin-token-0123456789"
ROOT = Path(__file__).resolve().parents[2]

PROGRAM = """
    import sys, time, urllib.request
    url, every = sys.argv[1], float(sys.argv[2])
    while True:
        try:
            request = urllib.request.Request(url, data=b'{"status": "ok"}', method="POST")
            urllib.request.urlopen(request, timeout=2).read()
        except OSError:
            pass
        time.sleep(every)
"""
"""A program that says it is alive: what a user's own would do, no more."""


@dataclass
class Group:
    """A running `mishpulse up`; its data stay in `data` over kills and restarts."""

    data: Path
    port: int = field(default_factory=free_port)
    settings: dict[str, str] = field(default_factory=dict)
    arguments: tuple[str, ...] = ()
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        private = {"PULSE_ADMIN_TOKEN": ADMIN, "PULSE_ALLOW_PRIVATE_TARGETS": "127.0.0.0/8"}
        command = [
            sys.executable,
            "-m",
            "services.cli",
            "up",
            "--port",
            str(self.port),
            "--data",
            str(self.data),
        ]
        with (self.data.parent / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [*command, *self.arguments],
                cwd=ROOT,
                env=environment(**private, **self.settings),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    async def ready(self, client: httpx.AsyncClient) -> None:
        async def answers() -> bool:
            with contextlib.suppress(httpx.TransportError):
                return (await client.get("/readyz")).status_code == 200
            assert self.process is not None
            assert self.process.poll() is None, (self.data.parent / "log").read_text()
            return False

        await wait_until(answers, "GET /readyz to be 200", timeout=30)

    def kill(self) -> None:
        """`kill -9` of the whole process group, as a crash of the machine would."""
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)
        self.process = None

    def stop(self) -> float:
        """SIGTERM; how many seconds it took to end."""
        if self.process is None:
            return 0.0
        began = time.monotonic()
        self.process.terminate()
        self.process.wait(15)
        self.process = None
        return time.monotonic() - began


@dataclass
class Program:
    """A program that beats, until it is killed."""

    process: subprocess.Popen[bytes]

    @classmethod
    def start(cls, url: str, every: float) -> "Program":
        script = textwrap.dedent(PROGRAM)
        return cls(subprocess.Popen([sys.executable, "-c", script, url, str(every)]))

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(5)


@dataclass
class Story:
    """One group, its admin, and everyone who hears from it."""

    group: Group
    admin: httpx.AsyncClient
    telegram: BotApi
    mail: MailServer
    receiver: Receiver

    async def channels(self) -> None:
        """A channel of each kind to the doubles."""
        for name, config in {
            "telegram": {"bot_token": "123456:test", "chat_id": "42", "api_base": self.telegram.url},
            "email": {"to": ["ops@example.org"], "smtp_url": f"smtp://127.0.0.1:{self.mail.port}"},
            "webhook": {"url": f"{self.receiver.url}/", "secret": "s3cret"},
        }.items():
            channel = {"name": name, "type": name, "config": config}
            answer = await self.admin.post("/api/channels", json=channel)
            assert answer.status_code == 201, answer.text

    async def monitor(self, name: str = "api-worker", **settings: Any) -> dict[str, Any]:
        answer = await self.admin.post("/api/monitors", json={"name": name, **settings})
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.json()
        return made

    async def status(self, name: str = "api-worker") -> tuple[str, float | None]:
        """Status and last heartbeat (Unix seconds) as everyone can see them."""
        for row in (await self.admin.get("/api/status")).json():
            if row["name"] == name:
                seen = row["last_seen"]
                return row["status"], datetime.fromisoformat(seen).timestamp() if seen else None
        raise AssertionError(f"{name} is not in /api/status")

    def heard(self, words: str) -> tuple[int, int, int]:
        """How many messages with these words came by Telegram, mail and webhook."""
        doubles = (self.telegram, self.mail, self.receiver)
        first, second, third = (sum(words in str(entry) for entry in d.journal.received) for d in doubles)
        return first, second, third

    async def all_heard(self, words: str, timeout: float, times: int = 1) -> float:
        """Waits until everyone heard these words `times` times; returns the Unix time."""
        await wait_until(
            lambda: min(self.heard(words)) >= times, f"{words!r} everywhere, now {self.heard(words)}", timeout
        )
        return time.time()


@asynccontextmanager
async def telling(folder: Path, **settings: str) -> AsyncIterator[Story]:
    """A story: a group with its doubles, ended whatever happens."""
    async with AsyncExitStack() as stack:
        telegram = await stack.enter_async_context(BotApi())
        mail = await stack.enter_async_context(MailServer())
        receiver = await stack.enter_async_context(Receiver())
        group = Group(folder / "data", settings=settings)
        client = httpx.AsyncClient(
            base_url=group.url, headers={"Authorization": f"Bearer {ADMIN}"}, timeout=10
        )
        admin = await stack.enter_async_context(client)
        group.start()
        try:
            await group.ready(admin)
            yield Story(group, admin, telegram, mail, receiver)
        finally:
            await asyncio.to_thread(group.stop)

"""`mishpulse up` as a subprocess in a session of its own, for tests that start, stop and kill it."""

import contextlib
import http.client
import os
import pty
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from waiting import wait_for

ROOT = Path(__file__).parent.parent
PROCESSES = ("http", "watchdog", "notifier", "webhooks-worker")


def free_port() -> int:
    """A port nobody uses now; the kernel gives out another one next time."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def environment(**extra: str) -> dict[str, str]:
    """The tests' own environment without settings of MishPulse, with `extra`."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PULSE_")}
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    return {**kept, "PYTHONPATH": path, **extra}


def mishpulse(*arguments: str, timeout: float = 20, **extra: str) -> subprocess.CompletedProcess[str]:
    """Runs the command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "services.cli", *arguments],
        env=environment(**extra),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def get(port: int, path: str, *, method: str = "GET", timeout: float = 5) -> tuple[int, str]:
    """Status and body of one request; status 0 when nobody answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    except (OSError, http.client.HTTPException):
        return 0, ""
    finally:
        connection.close()


def lives(pid: int) -> bool:
    """Whether a process runs; one that only waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):  # gone before it was opened, or before it was read
        return False


@dataclass
class Up:
    """One `mishpulse up` on a data folder and a port; `output` is all it ever printed."""

    data: Path
    port: int = field(default_factory=free_port)
    arguments: tuple[str, ...] = ()
    extra: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        return self.data.with_name(self.data.name + ".log")

    @property
    def output(self) -> str:
        return self.log.read_text()

    def start(self, *, wait: bool = True) -> "Up":
        """Starts it, and waits until it says that it is ready."""
        places = ("--data", str(self.data), "--port", str(self.port))
        seen = len(self.output) if self.log.exists() else 0
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "services.cli", "up", *places, *self.arguments],
                env=environment(**self.extra),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        if wait:
            wait_for(
                lambda: "is ready: " in self.output[seen:] or self.process.poll() is not None,
                "it is ready",
                30,
            )
            assert self.process.poll() is None, self.output
        return self

    def on_a_terminal(self) -> tuple[Callable[[], str], subprocess.Popen[bytes]]:
        """Starts it on a terminal: a function that tells what is on it so far, and the process."""
        ours, theirs = pty.openpty()
        os.set_blocking(ours, False)
        places = ("--data", str(self.data), "--port", str(self.port))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "services.cli", "up", *places, *self.arguments],
            env=environment(COLUMNS="200", **self.extra),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        parts: list[bytes] = []

        def seen() -> str:
            with contextlib.suppress(OSError):
                while part := os.read(ours, 65536):
                    parts.append(part)
            return b"".join(parts).decode()

        return seen, self.process

    def pids(self) -> dict[str, int]:
        """The living processes below the supervisor by name; Valkey as `valkey`, once it is more than asked for its
        version.
        """
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                words = (folder / "cmdline").read_bytes().decode().split("\0")
            except (OSError, ValueError):
                continue
            if parent == self.process.pid and lives(int(folder.name)) and "--version" not in words:
                name = words[words.index("child") + 1] if "child" in words else "valkey"
                found[name] = int(folder.name)
        return found

    def told(self, pattern: str) -> str:
        """The first match of `pattern` in the output."""
        found = re.search(pattern, self.output)
        assert found, self.output
        return found[1]

    def kill(self) -> None:
        """Kills its whole process group, as a power cut would."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)

    def stop(self) -> int:
        """Ends it as an operator does; its exit status."""
        if self.process is None:
            return 0
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(15)

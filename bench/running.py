"""The real processes, started as an operator starts them: `mishpulse collector` and its like."""

import http.client
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ground import ROOT

from shared.settings import Settings

HTTP = ("collector", "webhooks", "admin", "up")
SERVICES = ("collector", "watchdog", "notifier", "webhooks", "webhooks-worker", "admin")
"""Those of the Compose file, one process each."""


@dataclass(frozen=True, slots=True)
class Running:
    """A service's process; `port` is the one it serves, or for a worker its health port."""

    pid: int
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def environment(settings: Settings, **more: str) -> dict[str, str]:
    """The settings that matter here, by their names in the environment."""
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("PULSE_")},
        "PYTHONPATH": str(ROOT),
        "PULSE_REDIS_URL": settings.redis_url,
        "PULSE_ADMIN_TOKEN": settings.admin_token,
        "PULSE_SECRET_KEY": settings.secret_key,
        "PULSE_ALLOW_PRIVATE_TARGETS": "127.0.0.0/8",
        **more,
    }


@contextmanager
def running(service: str, settings: Settings, core: int | None = None, **more: str) -> Iterator[Running]:
    """One service until the block ends; `more` are further settings by their names in the environment.

    It logs as it would for an operator, into a file that goes with it.
    """
    port, folder = free_port(), tempfile.TemporaryDirectory(prefix="pulse-bench-")
    options = ["--port", str(port)] if service in HTTP else []
    if service == "up":
        options += ["--data", folder.name]
    if service not in HTTP:
        more["PULSE_METRICS_PORT"] = str(port)
    log = Path(folder.name, "log")
    with log.open("wb") as file:
        child = subprocess.Popen(
            [sys.executable, "-m", "services.cli", service, *options],
            cwd=ROOT,
            env=environment(settings, **more),
            stdout=subprocess.DEVNULL,
            stderr=file,
        )
    if core is not None:
        os.sched_setaffinity(child.pid, {core})
    try:
        if not _answers(child, port):
            raise RuntimeError(f"{service} did not start:\n{log.read_text()}")
        yield Running(child.pid, port)
    finally:
        child.terminate()
        try:
            child.wait(10)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        folder.cleanup()


def _answers(child: subprocess.Popen[bytes], port: int) -> bool:
    """Waits until it does; `mishpulse up` takes connections before there is anybody to answer them."""
    deadline = time.monotonic() + 20
    while child.poll() is None and time.monotonic() < deadline:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        try:
            connection.request("GET", "/")
            connection.getresponse().read()
        except OSError:
            time.sleep(0.02)
        else:
            return True
        finally:
            connection.close()
    return False

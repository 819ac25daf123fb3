"""The data folder of `mishpulse up`: what lies where, and that one group at a time uses it.

appendonlydir/   Valkey's append-only file: everything that must survive
secret.key       encrypts the secrets in it; without this file they are lost
demo.token       the demo monitor's token, so that `--demo` prints the same line each time
run/             of the running group: socket, locks, metrics, addresses; worthless once it ended
"""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from shared.errors import PulseError


class DataFolder:
    """The folder at `path`, which may not exist yet."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.key_file = path / "secret.key"
        self.demo_file = path / "demo.token"
        self.runtime = path / "run"
        self.metrics = self.runtime / "metrics"
        self._pid_file = self.runtime / "pid"
        self._where_file = self.runtime / "where"

    def was_killed(self) -> bool:
        """Whether the last group here did not end by itself, or still runs."""
        return self._pid_file.exists()

    def note_addresses(self, redis_url: str, http_url: str) -> None:
        """Tells the command line's other verbs where the group's Redis and its port are."""
        self._where_file.touch(mode=0o600)
        self._where_file.write_text(f"{redis_url}\n{http_url}\n")

    @contextlib.contextmanager
    def taken(self) -> Iterator[None]:
        """Holds the folder for this process, fit to be written to.

        PulseError when it cannot be written, or when another group holds it. The lock is the kernel's: it is gone
        with the process, however that ends.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self.runtime.mkdir(mode=0o700, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.path) as probe:
                probe.write(b"room for at least this")
            lock = os.open(self.runtime / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise PulseError(
                f"the data folder {self.path} cannot be written ({error.strerror}): "
                "choose another with --data, or correct its permissions"
            ) from None
        try:
            self._hold(lock)
            shutil.rmtree(self.metrics, ignore_errors=True)
            self.metrics.mkdir(mode=0o700)
            self._pid_file.write_text(f"{os.getpid()}\n")
            try:
                yield
            finally:
                self._where_file.unlink(missing_ok=True)
                self._pid_file.unlink(missing_ok=True)
        finally:
            os.close(lock)

    def _hold(self, lock: int) -> None:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PulseError(
                f"another `mishpulse up` runs on {self.path}: stop it, or choose another folder with --data"
            ) from None

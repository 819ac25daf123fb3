"""One Redis or Valkey with an append-only file, to be killed, stopped and slowed down.

What a kill loses: with `always` nothing that was acknowledged. With `everysec` the server writes to the file before it
answers, so a kill alone loses nothing either; but while an fsync in the background takes long it puts writes off, for
2 s at most, and what was put off dies with the process. So the loss shows itself only when fsyncs are slow, and
`slow_fsyncs` makes them so. Power loss is not simulated: the page cache survives here.
"""

import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Final, Literal

from servers import Server, binaries

from chaos import leash

Policy = Literal["everysec", "always"]

SHIM: Final = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* Sleeps for as many milliseconds as the file says, not at all when there is none. */
static void be_slow(void) {
    const char *path = getenv("SLOW_FSYNC_FILE");
    FILE *file = path ? fopen(path, "r") : NULL;
    long ms = 0;
    if (!file) return;
    if (fscanf(file, "%ld", &ms) != 1) ms = 0;
    fclose(file);
    struct timespec pause = {ms / 1000, (ms % 1000) * 1000000L}, rest;
    while (nanosleep(&pause, &rest) != 0) pause = rest;
}

int fdatasync(int fd) {
    static int (*real)(int);
    if (!real) real = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    be_slow();
    return real(fd);
}

int fsync(int fd) {
    static int (*real)(int);
    if (!real) real = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    be_slow();
    return real(fd);
}
"""


def build_shim(folder: Path) -> Path:
    """The library that slows fsyncs down, compiled here; RuntimeError when there is no compiler."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        raise RuntimeError("slow fsyncs need a C compiler: install gcc, nothing was measured without it")
    source, library = folder / "slow_fsync.c", folder / "slow_fsync.so"
    source.write_text(SHIM)
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
    return library


class RedisServer(Server):
    """A server whose data survives it. `policy` is its `appendfsync`; `port` 0 means the unix socket alone."""

    def __init__(self, folder: Path, policy: Policy = "everysec", *, name: str = "", port: int = 0) -> None:
        found = binaries()
        name = name or ("redis-server" if "redis-server" in found else "valkey")
        super().__init__(name, found[name], folder, port)
        self.policy = policy
        self._slow = folder / "slow-fsyncs"
        self.environment = {
            **os.environ,
            "LD_PRELOAD": str(build_shim(folder)),
            "SLOW_FSYNC_FILE": str(self._slow),
        }

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def start(self, *options: str) -> None:
        """Starts it on the data that is there, and waits until it answers."""
        super().start("--appendonly", "yes", "--appendfsync", self.policy, *options)

    def spawn(self, arguments: list[str]) -> subprocess.Popen[bytes]:
        """On a leash, with the library that can slow its fsyncs down."""
        return leash.start(arguments, log=self.folder / "log", env=self.environment)

    def kill(self) -> None:
        """Ends it as `kill -9` does."""
        if self.process is not None and self.process.poll() is None:
            self.resume()
        self.stop(kill=True)

    def pause(self) -> None:
        """Stops the process: connections stay open and nothing answers."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Lets a stopped process go on."""
        os.kill(self.pid, signal.SIGCONT)

    def slow_fsyncs(self, seconds: float) -> None:
        """Makes each fsync from now on take so much longer; 0 ends that."""
        if seconds:
            whole = self._slow.with_suffix(".new")
            whole.write_text(str(round(seconds * 1000)))
            whole.rename(self._slow)
        else:
            self._slow.unlink(missing_ok=True)

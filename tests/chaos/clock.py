"""A wall clock that is wrong, for one process: a library put in front of the C library's clocks.

The monotonic clock is left alone, as a step of the real clock leaves it. The step is read from a file that is mapped
into the process, so it may happen while the process runs, and costs nothing else.
"""

import mmap
import os
import shutil
import struct
import subprocess
from pathlib import Path
from typing import Final

SHIM: Final = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile int64_t *step;  /* seconds, in the mapped file */
static int (*real_gettime)(clockid_t, struct timespec *);
static int (*real_timeofday)(struct timeval *, void *);

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("CLOCK_STEP_FILE");
    int file = path ? open(path, O_RDONLY) : -1;
    real_gettime = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    real_timeofday = (int (*)(struct timeval *, void *))dlsym(RTLD_NEXT, "gettimeofday");
    if (file < 0) return;
    void *found = mmap(NULL, sizeof(int64_t), PROT_READ, MAP_SHARED, file, 0);
    if (found != MAP_FAILED) step = found;
    close(file);
}

int clock_gettime(clockid_t clock, struct timespec *at) {
    if (!real_gettime) begin();
    int result = real_gettime(clock, at);
    if (result == 0 && step && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) at->tv_sec += *step;
    return result;
}

int gettimeofday(struct timeval *restrict at, void *restrict zone) {
    if (!real_timeofday) begin();
    int result = real_timeofday(at, zone);
    if (result == 0 && step) at->tv_sec += *step;
    return result;
}

time_t time(time_t *at) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (at) *at = now.tv_sec;
    return now.tv_sec;
}
"""


class Clock:
    """The clock of the processes started with `environment`; right until it is stepped."""

    def __init__(self, folder: Path) -> None:
        compiler = shutil.which("gcc") or shutil.which("cc")
        if compiler is None:
            raise RuntimeError(
                "a stepped clock needs a C compiler: install gcc, nothing was proven without it"
            )
        folder.mkdir(parents=True, exist_ok=True)
        source, library = folder / "clock.c", folder / "clock.so"
        source.write_text(SHIM)
        subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
        self._file = folder / "step"
        self._file.write_bytes(struct.pack("=q", 0))
        self.environment = {"LD_PRELOAD": str(library), "CLOCK_STEP_FILE": str(self._file)}

    def step(self, seconds: int) -> None:
        """Makes the clock wrong by that much from now on; 0 makes it right."""
        handle = os.open(self._file, os.O_RDWR)
        try:
            with mmap.mmap(handle, 8) as mapped:
                mapped[:8] = struct.pack("=q", seconds)
        finally:
            os.close(handle)

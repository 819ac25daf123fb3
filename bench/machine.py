"""The machine and the versions that the figures were taken with."""

import os
import platform
import re
import statistics
import subprocess
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from ground import ROOT, binaries

from services import embedded

CHANGED = ("status", "--short", "-uno", "--", ".", ":!bench/results", ":!docs/performance*")
PACKAGES = ("uvicorn", "uvloop", "httptools", "redis", "hiredis", "aiohttp", "httpx")


def describe() -> dict[str, str]:
    """What a reader needs to compare: nothing that names a host or a folder."""
    cpu = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    memory = re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())
    return {
        "processor": cpu[1] if cpu else platform.machine(),
        "cores": str(os.cpu_count()),
        "memory": f"{int(memory[1]) / 2**20:.0f} GiB" if memory else "",
        "kernel": platform.release(),
        "Python": platform.python_version(),
        "servers": ", ".join(_server(path) for path in binaries().values()),
        "packages": ", ".join(f"{name} {version(name)}" for name in PACKAGES),
    }


def _server(path: str) -> str:
    binary = embedded.Binary.at(path)
    number = re.search(r"v=([\d.]+)", binary.said)
    jemalloc = "jemalloc" in binary.said + embedded.environment(binary).get("LD_PRELOAD", "")
    return f"{binary.said.split()[0]} {number[1] if number else '?'}{' with jemalloc' if jemalloc else ''}"


def busy() -> float:
    """How many other processes want to run now, on average over two seconds."""
    samples = []
    for _ in range(40):
        time.sleep(0.05)
        samples.append(int(Path("/proc/loadavg").read_text().split()[3].partition("/")[0]) - 1)
    return round(statistics.mean(samples), 1)


@dataclass(frozen=True, slots=True)
class Clock:
    """What the processor's time had gone into at some moment, in its own ticks: all of it, and what was stolen."""

    all: int
    stolen: int


def clock() -> Clock:
    """Now; see `stolen`."""
    user, nice, system, idle, wait, irq, soft, stolen = map(
        int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    )
    return Clock(user + nice + system + idle + wait + irq + soft + stolen, stolen)


def stolen(since: Clock) -> float:
    """The share of the processor's time that the host of a virtual machine gave to others (`steal` in proc(5))."""
    now = clock()
    return round((now.stolen - since.stolen) / max(1, now.all - since.all), 4)


def commit() -> str:
    """The commit that was measured, with a + when the work tree was changed: by more than results and their page."""

    def git(*words: str) -> str:
        return subprocess.run(
            ["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=False
        ).stdout

    return git("rev-parse", "--short", "HEAD").strip() + ("+" if git(*CHANGED) else "")


def longest_stop(seconds: float) -> float:
    """Ms for which a process that only looks at the clock was stopped at most: no call of anybody is safe from that."""
    last = time.perf_counter()
    end, longest = last + seconds, 0.0
    while last < end:
        now = time.perf_counter()
        longest, last = max(longest, now - last), now
    return longest * 1000

"""HTTP load by wrk, on a core of its own choice: as fast as it is answered, or at a given rate.

At a rate, many connections each wait a random time between an answer and their next request, so that a request does
not wait for the one before it: with more connections than are ever answered late, arrivals are open-loop.
"""

import json
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from report import progress

PART = 5
"""Seconds of load between two lines of progress."""
FIRST = ("chrt", "--fifo", "1")
"""In front of a command: it never waits for a core that another process has."""
BEAT = """
local n = {first}
request = function()
  n = n + 1
  if n >= {last} then n = {first} end
  return wrk.format("POST", "/api/heartbeat/token-" .. n, {headers}, '{{"status": "ok"}}')
end
"""
PAUSE = """
delay = function() return math.random(0, {twice}) end
"""
DONE = """
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format('\\nRESULT {"requests": %d, "us": %d, "p50": %f, "p99": %f, "worst": %f, "errors": %d}\\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), latency.max,
    e.connect + e.read + e.write + e.status + e.timeout))
end
"""


@dataclass(frozen=True, slots=True)
class Load:
    """What wrk saw: requests per second, latencies in ms, and the share of a core that wrk itself took."""

    rate: float
    p50: float
    p99: float
    worst: float
    cpu: float


def beats(tokens: range, *, close: bool = False) -> str:
    """Heartbeats of these monitors in turn; with `close` each on a connection of its own."""
    headers = '{["Connection"] = "close"}' if close else "nil"
    return BEAT.format(first=tokens.start, last=tokens.stop, headers=headers)


@cache
def may_go_first() -> bool:
    """Whether this user may give a process a real-time priority, and has `chrt` to do it."""
    return (
        bool(shutil.which(FIRST[0]))
        and not subprocess.run([*FIRST, "true"], stderr=subprocess.DEVNULL, check=False).returncode
    )


class Wrk:
    """A wrk under way; `result` waits for its end. Any answer but 2xx, and any broken connection, ends everything.

    `first` gives it a core whenever it wants one, if this user may: answers that wait for it were given in time, and
    clients have machines of their own.
    """

    def __init__(
        self,
        port: int,
        script: str,
        seconds: float,
        clients: int,
        *,
        core: int | None = None,
        rate: float = 0,
        first: bool = False,
    ) -> None:
        if not shutil.which("wrk"):
            sys.exit("this row needs wrk (Debian's package wrk)")
        pause = PAUSE.format(twice=round(2000 * clients / rate)) if rate else ""
        with tempfile.NamedTemporaryFile("w", suffix=".lua", delete=False) as file:
            file.write(script + pause + DONE)
        self._script = Path(file.name)
        pin = [] if core is None else ["taskset", "-c", str(core)]
        ahead = FIRST if first and may_go_first() else []
        options = [
            "-t1",
            "--timeout",
            "30s",
            f"-c{clients}",
            f"-d{seconds:g}s",
            "-s",
            file.name,
            f"http://127.0.0.1:{port}/",
        ]
        self._cpu, self._seconds = _children(), seconds
        self._process = subprocess.Popen(
            [*pin, *ahead, "wrk", *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def result(self) -> Load:
        out, _ = self._process.communicate()
        self._script.unlink()
        lines = [line for line in out.splitlines() if line.startswith("RESULT ")]
        if self._process.returncode or not lines:
            sys.exit(out)
        found = json.loads(lines[0].removeprefix("RESULT "))
        if found["errors"]:
            sys.exit(out)
        return Load(
            found["requests"] / found["us"] * 1e6,
            found["p50"] / 1000,
            found["p99"] / 1000,
            found["worst"] / 1000,
            (_children() - self._cpu) / self._seconds,
        )


def wrk(
    port: int, script: str, seconds: float, clients: int, *, core: int | None = None, rate: float = 0
) -> Load:
    """Runs wrk to its end."""
    return Wrk(port, script, seconds, clients, core=core, rate=rate).result()


def median(loads: Sequence[Load], name: str) -> float:
    return statistics.median(getattr(one, name) for one in loads)


def heard(port: int, count: int, *, core: int | None = None) -> None:
    """Hears of each of `count` monitors once, so that the collector has met all their tokens."""
    done = 0
    while done < count:
        load = wrk(port, beats(range(done, count)), PART, 64, core=core)
        done += max(1, int(load.rate * PART))
        progress(f"first heartbeats among {count:,}", min(done, count), count)


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime

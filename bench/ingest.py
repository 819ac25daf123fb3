"""Durable heartbeats/s of one collector on one core, beside a bare uvicorn app on that core, in turns.

    python bench/ingest.py [runs]

Goal: at least 0.60 of the bare app, with 64 keep-alive clients. The collector is the real process. Redis (append-only
file, everysec) and wrk share the other core; their load is printed, for whoever is at its limit is what was measured.
"""

import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass

from bare import bare, raw
from ground import cpu_seconds, process, server_name, serving, settings_for
from load import Load, beats, wrk
from loading import fill
from report import Measure, progress, report
from running import running

CLIENTS = 64
SECONDS = 4


@dataclass(frozen=True, slots=True)
class Taken:
    """A run: what wrk saw, and the shares of a core that the server under it and Redis took."""

    load: Load
    cpu: float
    redis: float

    @property
    def cost(self) -> float:
        """CPU time per request in µs."""
        return self.cpu / self.load.rate * 1e6


def taken(port: int, pid: int, redis_pid: int) -> Taken:
    before, redis_before = cpu_seconds(pid), cpu_seconds(redis_pid)
    load = wrk(port, beats(range(CLIENTS)), SECONDS, CLIENTS, core=1)
    used, redis_used = cpu_seconds(pid) - before, cpu_seconds(redis_pid) - redis_before
    return Taken(load, used / SECONDS, redis_used / SECONDS)


def middle(runs: list[Taken], value: Callable[[Taken], float]) -> float:
    return statistics.median(map(value, runs))


def line(runs: list[Taken]) -> str:
    return (
        f"{middle(runs, lambda one: one.load.rate):,.0f}/s at {middle(runs, lambda one: one.cpu):.0%} of its core; "
        f"on the other wrk {middle(runs, lambda one: one.load.cpu):.0%}, "
        f"Redis {middle(runs, lambda one: one.redis):.0%}"
    )


def main(runs: int) -> None:
    ceilings: list[Taken] = []
    ours: list[Taken] = []
    with process(raw) as (port, _):
        most = wrk(port, beats(range(CLIENTS)), SECONDS, CLIENTS, core=1)
    with serving(core=1) as server, process(bare) as (bare_port, bare_pid):
        assert server.process is not None
        fill(server.url, range(CLIENTS), quiet=True)
        with running("collector", settings_for(server.url), core=0) as collector:
            for run in range(runs + 1):
                ceiling = taken(bare_port, bare_pid, server.process.pid)
                made = taken(collector.port, collector.pid, server.process.pid)
                if run:  # the first warms both up
                    ceilings.append(ceiling)
                    ours.append(made)
                progress("runs", run, runs)
    pairs = list(zip(ours, ceilings, strict=True))
    ratio = statistics.median(our.load.rate / bare.load.rate for our, bare in pairs)
    cost = statistics.median(bare.cost / our.cost for our, bare in pairs)
    report(
        f"heartbeats, one collector on one core, {CLIENTS} clients, {server_name()}, n = {runs} runs",
        [
            Measure("bare uvicorn app", line(ceilings)),
            Measure("heartbeats", line(ours)),
            Measure("ratio", f"{ratio:.2f}", ratio, 0.60, at_least=True),
            Measure("ratio of CPU time per request", f"{cost:.2f}"),
            Measure(
                "wrk against a responder that only answers",
                f"{most.rate:,.0f}/s at {most.cpu:.0%} of its core",
            ),
        ],
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)

"""Two collectors against one Redis beside one, and Redis' own ceiling for the script: what docs/scaling.md counts with.

    python bench/scaling.py [runs]

Goal with four cores and more: two collectors take at least 1.8 times as many heartbeats as one. With fewer the load
generator, Redis and the collectors share cores, so the same is shown by cost: a heartbeat costs two collectors and
their Redis, each collector at the same rate as the one alone, no more than 1.1 times as much CPU time. Many shards make
calls smaller: what a heartbeat costs then, up to as many as a cluster is given, stands beside it.
"""

import asyncio
import os
import re
import shutil
import statistics
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

import hiredis
import redis
from ground import Server, cpu_seconds, serving, settings_for
from load import Wrk, beats
from loading import Recorder, fill, new, steps, token
from report import Curve, Measure, progress, report
from running import Running, running

from shared import monitors, scripts
from shared.auth import hash_token
from shared.connection import Store, connect
from shared.schema import CLUSTER_SHARDS, open_store

SECONDS = 5
CLIENTS = 64
MONITORS = 1_000
BATCHES = (1, 8, 32, 256)
RATE = 3_000.0
"""Heartbeats/s for each collector where the cores do not suffice for all that it takes: two are far from any limit, so
that only what a heartbeat costs is compared."""
CALLS = 200_000
"""Heartbeats in one run of redis-benchmark."""
PIPELINED = 4
SHARDS = (1, 16, CLUSTER_SHARDS)


@dataclass
class Cost:
    """µs of CPU per heartbeat and heartbeats per second, a value per run."""

    python: list[float] = field(default_factory=list)
    redis: list[float] = field(default_factory=list)
    rate: list[float] = field(default_factory=list)

    @property
    def all(self) -> list[float]:
        """Collectors and Redis: fuller batches move work from one to the other."""
        return [sum(both) for both in zip(self.python, self.redis, strict=True)]

    def __str__(self) -> str:
        rate, python, server = map(statistics.median, (self.rate, self.python, self.redis))
        return f"{rate:,.0f}/s, CPU per heartbeat: collectors {python:.1f} µs, Redis {server:.1f} µs"

    def run(self, collectors: list[Running], server_pid: int, rate: float) -> None:
        """Loads each collector with `rate` heartbeats/s (0: all that it takes) at the same time."""
        pids = [one.pid for one in collectors]
        before, redis_before = sum(map(cpu_seconds, pids)), cpu_seconds(server_pid)
        loads = [Wrk(one.port, beats(range(MONITORS)), SECONDS, CLIENTS, rate=rate) for one in collectors]
        total = sum(load.result().rate for load in loads)
        self.rate.append(total)
        self.python.append((sum(map(cpu_seconds, pids)) - before) / (total * SECONDS) * 1e6)
        self.redis.append((cpu_seconds(server_pid) - redis_before) / (total * SECONDS) * 1e6)


def side_by_side(url: str, server_pid: int, runs: int) -> list[Measure]:
    """One collector and two, in turns."""
    enough = (os.cpu_count() or 1) >= 4
    one, two = Cost(), Cost()
    with ExitStack() as stack:
        settings = settings_for(url)
        pair = [stack.enter_context(running("collector", settings)) for _ in range(2)]
        rate = 0.0 if enough else RATE
        for run in range(runs + 1):
            one.run(pair[:1], server_pid, rate)
            two.run(pair, server_pid, rate)
            if not run:
                one, two = Cost(), Cost()
            progress("one and two collectors", run, runs)
    measures = [Measure("one collector", str(one)), Measure("two collectors", str(two))]
    if enough:
        ratio = statistics.median(two.rate) / statistics.median(one.rate)
        return [*measures, Measure("two against one", f"{ratio:.2f}", ratio, 1.8, at_least=True)]
    alone = statistics.median(two.python) / statistics.median(one.python)
    ratio = statistics.median(two.all) / statistics.median(one.all)
    return [
        *measures,
        Measure("of the collectors alone, two against one", f"{alone:.2f}"),
        Measure("CPU of a heartbeat, two against one", f"{ratio:.2f}", ratio, 1.1),
    ]


async def populate(url: str, shards: int) -> None:
    """The monitors that `beats` sends for, spread over so many shards."""
    redis = connect(url)
    store = await open_store(redis, shards)
    for number in range(MONITORS):
        await monitors.create(store, replace(new(number), token=token(number)))
    await redis.aclose()


def sharded(runs: int) -> list[Measure]:
    """One collector under all the load that it takes, by the number of shards."""
    costs = {shards: Cost() for shards in SHARDS}
    with ExitStack() as stack:
        sides = []
        for shards in costs:
            server = stack.enter_context(serving(core=1))
            assert server.process is not None
            asyncio.run(populate(server.url, shards))
            collector = stack.enter_context(running("collector", settings_for(server.url), core=0))
            sides.append((shards, collector, server.process.pid))
        for run in range(runs + 1):
            for shards, collector, pid in sides:
                costs[shards].run([collector], pid, 0)
                if not run:
                    costs[shards] = Cost()
            progress("numbers of shards", run, runs)
    return [
        Measure(f"all that one collector takes, shards: {shards}", str(cost))
        for shards, cost in costs.items()
    ]


def ceiling(server: Server, runs: int) -> tuple[list[Measure], Curve]:
    """Heartbeats per second of Redis' CPU time for the real script, by heartbeats in one call."""
    if not shutil.which("redis-benchmark"):
        sys.exit("this row needs redis-benchmark (Debian's package redis-tools)")
    client = redis.Redis.from_url(server.url, decode_responses=True)
    client.script_load(scripts.source("beat")[0])
    client.close()
    ids = fill(server.url, range(MONITORS), quiet=True)
    points, measures = [], []
    for batch in BATCHES:
        found = [_benchmark(server, CALLS // batch, _command(ids[:batch])) for _ in range(runs)]
        seen, used = (statistics.median(side) * batch for side in zip(*found, strict=True))
        points.append((float(batch), used))
        text = (
            f"{used:,.0f} heartbeats in a second of CPU time ({1e6 / used:.1f} µs each), {seen:,.0f}/s seen"
        )
        measures.append(Measure(f"Redis alone, {batch} to a call", text))
    return measures, Curve("ceiling", "heartbeats/s", tuple(points))


def _command(ids: list[str]) -> list[str]:
    """The call for one heartbeat of each, word by word, as `scripts.beat` sends it."""
    recorder, reader = Recorder(), hiredis.Reader(encoding="utf-8")
    store = Store(recorder)  # type: ignore[arg-type]
    known = [scripts.monitor_keys(store, name, hash_token(token(number))) for number, name in enumerate(ids)]
    steps(scripts.beat(store.redis, 0, [scripts.Beat(one, "ok") for one in known]))
    reader.feed(recorder.taken()[0])
    command: list[str] = reader.gets()
    return command


def _benchmark(server: Server, calls: int, command: list[str]) -> tuple[float, float]:
    """Calls per second as redis-benchmark saw them, and per second of the server's CPU time."""
    assert server.process is not None
    before = cpu_seconds(server.process.pid)
    options = ["-s", str(server.socket), "-c", "4", "-P", str(PIPELINED), "-n", str(calls), "--csv"]
    out = subprocess.run(["redis-benchmark", *options, *command], capture_output=True, text=True, check=True)
    found = re.findall(r'"([\d.]+)"', out.stdout)
    if not found or "ERR" in out.stdout:
        sys.exit(out.stdout + out.stderr)
    return float(found[0]), calls / (cpu_seconds(server.process.pid) - before)


def main(runs: int) -> None:
    with serving(core=1) as server:
        assert server.process is not None
        alone, curve = ceiling(server, runs)
        os.sched_setaffinity(server.process.pid, range(os.cpu_count() or 1))
        measures = side_by_side(server.url, server.process.pid, runs)
    report(f"scaling out, n = {runs} runs", [*measures, *sharded(runs), *alone], [curve])


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)

"""What one heartbeat costs Redis and the collector among 1,000 and among 1,000,000 monitors, in turns.

    python bench/growth.py [monitors] [runs]

Goal: at most 1.2 times as much CPU time. The heartbeats go round all monitors; each was heard before and has a full log
of heartbeats, as after a day. Beside it stand the five commands of a heartbeat that comes alone, sent plainly, without
a script and in large portions: what they grow by is the server's own, whoever asks. Valkey fetches the keys of such a
portion ahead of time, as it does for the keys that a script names; they are measured with it and without.
"""

import asyncio
import itertools
import statistics
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field

import hiredis
from filled import filled
from ground import cpu_seconds, make_durable, settings_for
from load import beats, heard, wrk
from loading import LOGGED, LONG, Wire
from report import Measure, progress, report
from running import Running, running

from services import embedded
from shared import keys
from shared.connection import Store, connect

FEW = 1_000
SECONDS = 6
CLIENTS = 64
PLAIN = 100_000
"""Monitors whose five commands are sent plainly in one run."""
TURN = 5_000
"""Of them, so many to one server and then to the other: what slows the machine down for a second slows both."""
PORTION = 500


@dataclass
class Side:
    """One number of monitors: its server, its collector, and the µs of CPU per heartbeat in each run."""

    count: int
    server_pid: int
    url: str
    ids: list[str]
    collector: Running
    redis: list[float] = field(default_factory=list)
    python: list[float] = field(default_factory=list)
    plain: list[float] = field(default_factory=list)
    ahead: list[float] = field(default_factory=list)

    def run(self, first: int) -> int:
        """Heartbeats as fast as they are taken, from monitor `first` on; returns how many."""
        before = cpu_seconds(self.server_pid), cpu_seconds(self.collector.pid)
        load = wrk(self.collector.port, beats(range(first, self.count)), SECONDS, CLIENTS, core=1)
        done = load.rate * SECONDS
        self.redis.append((cpu_seconds(self.server_pid) - before[0]) / done * 1e6)
        self.python.append((cpu_seconds(self.collector.pid) - before[1]) / done * 1e6)
        return round(done)

    def fetch_ahead(self, number: int) -> bool:
        """Whether the server can be told how many keys it is to fetch ahead: Redis 7.0 never does."""
        wire = Wire(self.url)
        try:
            wire.call("CONFIG", "SET", "prefetch-batch-max-size", number)
        except hiredis.ReplyError:
            return False
        finally:
            wire.close()
        return True

    def send_plain(self, first: int, count: int) -> None:
        """The five commands for each of `count` monitors from `first` on."""
        portions = self._portions(first, count)
        self._send([command for one in part for command in steady(one)] for part in portions)

    def cut(self, first: int, count: int) -> None:
        """Cuts the logs that `send_plain` made longer."""
        portions = self._portions(first, count)
        self._send([("LTRIM", keys.beats(0, one), 0, LOGGED - 1) for one in set(part)] for part in portions)

    def _portions(self, first: int, count: int) -> Iterator[list[str]]:
        names = (self.ids[(first + n) % self.count] for n in range(count))
        while part := list(itertools.islice(names, PORTION)):
            yield part

    def _send(self, portions: Iterable[list[tuple[str | int, ...]]]) -> None:
        wire = Wire(self.url)
        for commands in portions:
            wire.send([hiredis.pack_command(command) for command in commands])
            wire.answers()
        wire.close()


def steady(name: str) -> list[tuple[str | int, ...]]:
    """What a heartbeat reads and writes, as in `shared/lua/include/steady.lua`."""
    now = round(time.time() * 1000)
    return [
        (
            "HMGET",
            keys.monitor(0, name),
            "token",
            "status",
            "timeout",
            "grace",
            "methods",
            "schedule",
            "started",
        ),
        ("HSET", keys.monitor(0, name), "seen", now),
        ("ZADD", keys.deadlines(0), now + LONG, name),
        ("PEXPIRE", keys.pulse(0, name), LONG),
        ("LPUSH", keys.beats(0, name), f"{now} ok  "),
    ]


def run_plain(sides: list[Side], place: int) -> None:
    """The five commands on both servers in turns, from monitor `place` of the many on.

    First with no key fetched ahead, then with as many as our servers fetch; a server that cannot do without the choice
    has the first alone.
    """
    alike = {side.fetch_ahead(0) for side in sides}
    _in_turns(sides, place, [side.plain for side in sides])
    if alike == {True}:
        for side in sides:
            side.fetch_ahead(embedded.AHEAD)
        _in_turns(sides, place + PLAIN, [side.ahead for side in sides])


def _in_turns(sides: list[Side], place: int, costs: list[list[float]]) -> None:
    """Adds what each side pays for one heartbeat to its list of costs."""
    before = [cpu_seconds(side.server_pid) for side in sides]
    for done in range(0, PLAIN, TURN):
        for side in sides:
            side.send_plain((place + done) % side.count, TURN)
    for side, began, found in zip(sides, before, costs, strict=True):
        found.append((cpu_seconds(side.server_pid) - began) / PLAIN * 1e6)
        side.cut(place % side.count, PLAIN)


def start(stack: ExitStack, count: int) -> Side:
    server, ids = stack.enter_context(filled(count, core=1))
    assert server.process is not None
    asyncio.run(_durable(server.url))
    collector = stack.enter_context(running("collector", settings_for(server.url), core=0))
    return Side(count, server.process.pid, server.url, ids, collector)


async def _durable(url: str) -> None:
    store = Store(connect(url))
    await make_durable(store)
    await store.redis.aclose()


def main(many: int, runs: int) -> None:
    with ExitStack() as stack:
        sides = [start(stack, count) for count in (FEW, many)]
        for side in sides:
            heard(side.collector.port, side.count, core=1)
        place = 0
        for done in range(runs):
            sides[0].run(0)
            place = (place + sides[1].run(place)) % (many // 2)
            run_plain(sides, place)
            place = (place + 2 * PLAIN) % (many // 2)
            progress("runs", done + 1, runs)
    measures = []
    for name, costs, goal in (
        ("Redis, CPU per heartbeat", "redis", 1.2),
        ("collector, CPU per heartbeat", "python", 1.2),
        ("Redis, CPU of the five commands alone, no key fetched ahead", "plain", None),
        ("Redis, CPU of the five commands alone, keys fetched ahead", "ahead", None),
    ):
        if not getattr(sides[0], costs):
            continue
        few, lot = (statistics.median(getattr(side, costs)) for side in sides)
        text = f"{few:.1f} µs among {FEW:,}, {lot:.1f} µs among {many:,}: ratio {lot / few:.2f}"
        measures.append(Measure(name, text, lot / few, goal))
    report(f"cost of a heartbeat as monitors grow, n = {runs} runs each", measures)


if __name__ == "__main__":
    numbers = [int(text) for text in sys.argv[1:]]
    main(numbers[0] if numbers else 1_000_000, numbers[1] if len(numbers) > 1 else 5)

"""Clients that repeat a write until it is acknowledged, and what exactly one execution of each has to leave behind.

Every write carries a text of its own, so that each event in the stream names the write that caused it: one event less
is a loss, one more a duplicate, whatever happened to requests and replies on the way.
"""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from chaos.history import now_ms
from chaos.wire import Wire
from shared import keys, monitors
from shared.connection import Store
from shared.events import unpacked
from shared.monitors import NewMonitor

PAUSE: Final = (0.05, 0.3)
"""Seconds between repetitions."""
STATUS: Final = {"ok": "alive", "warning": "warning", "error": "error"}
LONG: Final = 86_400_000
"""Timeout in ms of monitors that shall not die."""

Mark = tuple[str, str]
"""A monitor's id (or "" for an application's event) and the text of one write."""


@dataclass(slots=True)
class Written:
    """What was written: each mark with the ms at which it was acknowledged, and how often it was sent."""

    acknowledged: dict[Mark, float] = field(default_factory=dict)
    sent: int = 0
    repeated: int = 0


@dataclass(slots=True)
class Reporter:
    """A monitor and what its one client reported, in order: (status, text), each acknowledged before the next."""

    id: str
    token: str
    reports: list[tuple[str, str]] = field(default_factory=list)


class Writers:
    """Clients of one collector; `stop` lets each end its write under way."""

    def __init__(self, wire: Wire, rng: random.Random, name: str) -> None:
        self.written = Written()
        self.reporters: list[Reporter] = []
        self._wire = wire
        self._rng = rng
        self._name = name
        self._events = 0
        self._stopped = asyncio.Event()

    async def make(self, store: Store, count: int) -> None:
        """Creates monitors that tell nobody and never die."""
        for number in range(count):
            new = NewMonitor(f"{self._name} {number}", timeout=LONG, channels="")
            made, token = await monitors.create(store, new)
            self.reporters.append(Reporter(made.id, token))

    def stop(self) -> None:
        """No further write begins."""
        self._stopped.set()

    async def report(self, one: Reporter, status: str) -> None:
        """One heartbeat, repeated until it is acknowledged."""
        text = f"{self._name}-{len(one.reports)}"
        one.reports.append((status, text))
        body = json.dumps({"status": status, "message": text}).encode()
        await self._until_acknowledged((one.id, text), f"/api/heartbeat/{one.token}", body, 200)

    async def event(self, kind: str = "order.placed") -> None:
        """One application event under an id of its own, likewise."""
        self._events += 1
        name = f"{self._name}-event-{self._events}"
        body = json.dumps({"id": name, "type": kind, "payload": {"name": name}}).encode()
        await self._until_acknowledged(("", name), "/events", body, 202)

    async def _until_acknowledged(self, mark: Mark, path: str, body: bytes, wanted: int) -> None:
        self.written.sent += 1
        while await self._wire.post(path, body) != wanted:
            self.written.repeated += 1
            await asyncio.sleep(self._rng.uniform(*PAUSE))
        self.written.acknowledged[mark] = now_ms()

    async def keep_failing(self, one: Reporter, every: float) -> None:
        """Errors with news each time, so that every single one is an event, until `stop`."""
        while not self._stopped.is_set():
            await self.report(one, "error")
            await asyncio.sleep(every * self._rng.uniform(0.5, 1.5))

    async def keep_telling(self, every: float, kind: str = "order.placed") -> None:
        """Events one after another, until `stop`."""
        while not self._stopped.is_set():
            await self.event(kind)
            await asyncio.sleep(every * self._rng.uniform(0.5, 1.5))


def expected(one: Reporter) -> list[Mark]:
    """The reports that are events: each change of status, and each error, for its text is always news. Pure."""
    found, status = [], "new"
    for word, text in one.reports:
        if STATUS[word] != status or word == "error":
            found.append((one.id, text))
        status = STATUS[word]
    return found


def compare(wanted: Iterable[Mark], found: Iterable[Mark]) -> tuple[list[Mark], list[Mark]]:
    """What is missing and what is there too often, twice if need be. Pure."""
    one, other = Counter(iter(wanted)), Counter(iter(found))
    return list((one - other).elements()), list((other - one).elements())


def mark_of(fields: Mapping[str, str]) -> Mark | None:
    """Which write an entry of the stream tells of; None for one that tells of no write."""
    if "monitor" in fields:
        return (fields["monitor"], fields["message"]) if fields["reason"] == "heartbeat" else None
    return ("", fields["id"]) if not fields["id"].startswith("mp.") else None


async def marks(store: Store) -> list[Mark]:
    """The writes that the streams tell of, in order."""
    found = []
    for shard in range(store.shards):
        after = "-"
        while entries := await _entries(store, shard, after):
            found += [mark for _, fields in entries if (mark := mark_of(unpacked(fields)))]
            after = f"({entries[-1][0]}"
    return found


async def _entries(store: Store, shard: int, after: str) -> list[Any]:
    found: list[Any] = await store.redis.xrange(keys.events(shard), after, "+", count=1_000)
    return found

"""A million monitors in about a minute, written by the product's own functions.

The functions that create a monitor and record a heartbeat run as they are, but on a client that only writes their
commands down. Those go to the server in large portions. So the keys are always the ones that the product writes today.
"""

import contextlib
import socket
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import hiredis
from redis.asyncio import UnixDomainSocketConnection
from report import progress

from shared import directory, keys, monitors, scripts
from shared.auth import hash_token
from shared.connection import PACKED, Store
from shared.model import MONITOR_ID_ALPHABET
from shared.monitors import NewMonitor

PORTION = 1_000
"""Monitors written between two reads of the answers."""
BATCH = 100
"""Heartbeats in one script call."""
LONG = 36_000_000
"""A timeout in ms that no measurement reaches."""
LOGGED = 100
"""Recent heartbeats that a monitor keeps; its log is cut to so many when it is `SLACK` longer."""
SLACK = 10

PACKER = PACKED[UnixDomainSocketConnection](path="")
"""Writes commands as the product's connections do."""


class Wire:
    """A blocking connection that sends many commands at once."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme == "unix":
            self._socket = socket.socket(socket.AF_UNIX)
            self._socket.connect(parts.path)
        else:
            self._socket = socket.create_connection((parts.hostname, parts.port))
        self._reader = hiredis.Reader(encoding="utf-8")
        self._owed = 0

    def send(self, packed: list[bytes]) -> None:
        self._socket.sendall(b"".join(packed))
        self._owed += len(packed)

    def answers(self) -> list[Any]:
        """The answer to everything sent and not yet answered; the first error is raised."""
        found: list[Any] = []
        while len(found) < self._owed:
            answer = self._reader.gets()
            if answer is False:
                self._reader.feed(self._socket.recv(1 << 20))
            elif isinstance(answer, Exception):
                raise answer
            else:
                found.append(answer)
        self._owed = 0
        return found

    def call(self, *parts: Any) -> Any:
        self.send([hiredis.pack_command(parts)])
        return self.answers()[0]

    def close(self) -> None:
        self._socket.close()


class Recorder:
    """Looks like a redis-py client, and notes each command; every key seems to be free, every write to succeed."""

    def __init__(self) -> None:
        self.commands: list[bytes] = []

    def __getattr__(self, name: str) -> Callable[..., Any]:
        async def note(*parts: Any, **options: Any) -> Any:
            if name in {"get", "hget"}:
                return None
            if not (options or name == "delete"):  # the short reservation of a token
                self.commands += PACKER.pack_command(name.upper(), *parts)
            return [1] * BATCH if name == "evalsha" and parts[0] == scripts.source("beat")[1] else 1

        return note

    def taken(self) -> list[bytes]:
        commands, self.commands = self.commands, []
        return commands


def monitor_id(number: int) -> str:
    """An id as the product makes them now, with the number where theirs is random."""
    value, text = int(time.time() * 1000) * 32**5 + number, ""
    for _ in range(14):
        text = MONITOR_ID_ALPHABET[value % 32] + text
        value //= 32
    return text


def token(number: int) -> str:
    return f"token-{number}"


def steps(coroutine: Any) -> Any:
    """The result of a coroutine that never really waits."""
    with contextlib.closing(coroutine):
        try:
            coroutine.send(None)
        except StopIteration as end:
            return end.value
    raise RuntimeError("it waits")


def new(number: int, timeout: int = LONG) -> NewMonitor:
    return NewMonitor(name=f"worker {number:07d}", timeout=timeout)


def fill(
    url: str, numbers: range, make: Callable[[int], NewMonitor] = new, *, beats: int = 1, quiet: bool = False
) -> list[str]:
    """Creates the monitors of `numbers` and sends each `beats` heartbeats; returns their ids.

    The events of it are trimmed away at once, for they are no monitor's memory and nobody's news.
    """
    recorder, wire = Recorder(), Wire(url)
    store = Store(recorder)  # type: ignore[arg-type]
    for name in ("create_monitor", "beat"):
        wire.call("SCRIPT", "LOAD", scripts.source(name)[0])
    ids: list[str] = []
    for start in range(0, len(numbers), PORTION):
        part = {number: monitor_id(number) for number in numbers[start : start + PORTION]}
        commands = _portion(store, recorder, part, make, beats)
        wire.answers()  # of the portion before, which the server worked on meanwhile
        wire.send(commands)
        ids += part.values()
        if not quiet:
            progress("monitors", len(ids), len(numbers))
    wire.answers()
    wire.close()
    return ids


def lengthen(url: str, ids: list[str]) -> None:
    """Gives monitors that were heard once the log of one that was heard for hours: their entry, as often as it takes.

    The lengths are spread over all that a log has between two cuts.
    """
    wire = Wire(url)
    for start in range(0, len(ids), PORTION):
        part = ids[start : start + PORTION]
        wire.send([hiredis.pack_command(("LINDEX", keys.beats(0, name), 0)) for name in part])
        entries = wire.answers()
        wire.send(
            [
                hiredis.pack_command(("RPUSH", keys.beats(0, name), *[entry] * (LOGGED - 1 + number % SLACK)))
                for number, (name, entry) in enumerate(zip(part, entries, strict=True), start)
            ]
        )
        wire.answers()
        progress("logs", start + len(part), len(ids))
    wire.close()


def _portion(
    store: Store, recorder: Recorder, part: dict[int, str], make: Callable[[int], NewMonitor], beats: int
) -> list[bytes]:
    known = []
    for number, name in part.items():
        hashed = hash_token(token(number))
        steps(_create(store, name, hashed, make(number)))
        known.append(scripts.monitor_keys(store, name, hashed))
    for start in range(0, len(known), BATCH):
        for _ in range(beats):
            steps(
                scripts.beat(
                    store.redis, 0, [scripts.Beat(one, "ok") for one in known[start : start + BATCH]]
                )
            )
    recorder.commands.append(hiredis.pack_command(("XTRIM", keys.events(0), "MAXLEN", "0")))
    return recorder.taken()


async def _create(store: Store, name: str, hashed: str, made: NewMonitor) -> None:
    async with directory.reserved(store, hashed, name):
        await monitors.write(store, name, hashed, made)

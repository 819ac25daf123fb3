"""What happened in one run: requests, stream events, deliveries and faults, in memory and as JSON lines.

Times are ms since the epoch by this machine's clock, which Redis reads too.
"""

import json
import time
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TextIO

Outcome = Literal["acknowledged", "refused", "indeterminate"]
Kind = Literal["beat", "event", "pause", "resume", "edit", "create"]


def now_ms() -> float:
    """The wall clock in ms."""
    return time.time() * 1000


@dataclass(frozen=True, slots=True)
class Request:
    """One request. `refused` certainly did nothing; `indeterminate` may have. `what`: ok, warning, error, or the id."""

    kind: Kind
    monitor: str
    what: str
    started: float
    ended: float
    outcome: Outcome
    status: int = 0


@dataclass(frozen=True, slots=True)
class StreamEvent:
    """One entry of the `events` stream; monitor, old, new and so on are "" for an event of another kind."""

    id: str
    type: str
    at: int
    cursor: str
    monitor: str = ""
    old: str = ""
    new: str = ""
    reason: str = ""
    channels: str = "*"
    timeout: int = 0
    grace: int = 0
    about: str = ""


@dataclass(frozen=True, slots=True)
class Receipt:
    """One request that a receiver got: `target` is `webhook:<id>` or `channel:<id>`, `events` what it was about."""

    target: str
    message: str
    events: tuple[str, ...]
    type: str
    at: float
    answered: int
    unlisted: int = 0
    """Members of a digest beyond those that its body names."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault between `start` and `end` (equal for a kill). `name` is a process, `redis`, `network`, …"""

    kind: str
    name: str
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Letter:
    """A delivery as the ledger shows it at the end, if it still has it.

    `attempt` counts recorded attempts; `epoch` grows by one with each claim and with each claim that is taken back.
    """

    target: str
    event: str
    status: str
    attempt: int
    error: str = ""
    epoch: int = 0

    @property
    def taken_back(self) -> int:
        """How many of its claims ended without a result."""
        return (self.epoch - self.attempt) // 2


@dataclass(slots=True)
class Facts:
    """What the checker judges. `gaps` are the times when nobody listened, `vanished` events that were seen once."""

    requests: list[Request] = field(default_factory=list)
    events: list[StreamEvent] = field(default_factory=list)
    receipts: list[Receipt] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    letters: list[Letter] = field(default_factory=list)
    gaps: list[tuple[int, int]] = field(default_factory=list)
    vanished: list[str] = field(default_factory=list)
    subscriptions: dict[str, tuple[str, ...]] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    """How many deliveries of each target the ledger says have ended."""
    ended: float = 0.0
    shard_gaps: list[list[tuple[int, int]]] = field(default_factory=list)
    """With several shards, each shard's own part of `gaps`: a deadline is credited by its shard's alone."""

    def gaps_of(self, monitor: str) -> list[tuple[int, int]]:
        """The times when nobody listened to a monitor."""
        if not self.shard_gaps:
            return self.gaps
        return self.shard_gaps[zlib.crc32(monitor.encode()) % len(self.shard_gaps)]


class History:
    """Collects facts and writes each at once to `path`, so that a run that breaks leaves its traces."""

    def __init__(self, path: Path) -> None:
        self.facts = Facts()
        self._path = path
        self._file: TextIO | None = None

    def __enter__(self) -> Self:
        self._file = self._path.open("a", encoding="utf-8")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file:
            self._file.close()
            self._file = None

    def request(self, request: Request) -> None:
        self.facts.requests.append(request)
        self._write("request", asdict(request))

    def event(self, event: StreamEvent) -> None:
        self.facts.events.append(event)
        self._write("event", asdict(event))

    def receipt(self, receipt: Receipt) -> None:
        self.facts.receipts.append(receipt)
        self._write("receipt", asdict(receipt))

    def fault(self, kind: str, name: str, start: float | None = None, end: float | None = None) -> Fault:
        """Notes a fault, by default an instant one now."""
        begun = now_ms() if start is None else start
        fault = Fault(kind, name, begun, begun if end is None else end)
        self.facts.faults.append(fault)
        self._write("fault", asdict(fault))
        return fault

    def letter(self, letter: Letter) -> None:
        self.facts.letters.append(letter)
        self._write("letter", asdict(letter))

    def note(self, **words: Any) -> None:
        """Anything else worth finding in the file."""
        self._write("note", {"at": now_ms(), **words})

    def _write(self, entry: str, fields: Mapping[str, Any]) -> None:
        if self._file:
            self._file.write(json.dumps({"entry": entry, **fields}, ensure_ascii=False) + "\n")


def load(path: Path) -> Facts:
    """The facts of a file, for judging an old run again; `gaps`, `subscriptions` and `ended` come from its notes."""
    facts = Facts()
    for line in path.read_text("utf-8").splitlines():
        fields = json.loads(line)
        entry = fields.pop("entry")
        if entry == "request":
            facts.requests.append(Request(**fields))
        elif entry == "event":
            facts.events.append(StreamEvent(**fields))
        elif entry == "receipt":
            facts.receipts.append(Receipt(**{**fields, "events": tuple(fields["events"])}))
        elif entry == "fault":
            facts.faults.append(Fault(**fields))
        elif entry == "letter":
            facts.letters.append(Letter(**fields))
        elif "summary" in fields:
            summary = fields["summary"]
            facts.gaps = [(start, end) for start, end in summary["gaps"]]
            facts.vanished = list(summary["vanished"])
            facts.subscriptions = {key: tuple(value) for key, value in summary["subscriptions"].items()}
            facts.counts = summary.get("counts", {})
            facts.ended = summary["ended"]
    return facts

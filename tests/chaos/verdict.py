"""What is allowed, and what the checker found."""

from dataclasses import dataclass, field
from typing import Final

TICK: Final = 2.0
"""Ms by which two readings of the clock may differ: Redis counts whole milliseconds."""
LATE: Final = 10_000.0
"""Ms of a running machine after which a request without an answer can have no effect any more."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What is allowed. Ms.

    A silence that lasted `found_within` beyond its deadline must have been found. A duplicate is excused by a fault of
    the process that delivers when the earlier copy came at most `record_within` before it or `reach_within` after it
    began. A time when nobody listened excuses silence from its start, up to `stamped_within`: what the clock of the
    newest stamp can be behind.
    """

    found_within: float = 5_000.0
    record_within: float = 2_000.0
    reach_within: float = 2_000.0
    """What was on its way is noted by a receiver that shares its two cores with a dozen processes: 0.8 s was seen."""
    late: float = LATE
    stamped_within: float = 5.0


@dataclass(slots=True)
class Queue:
    """Jepsen's total-queue: what was put in against what came out, as ids."""

    acknowledged: int = 0
    lost: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    duplicated: list[str] = field(default_factory=list)
    recovered: list[str] = field(default_factory=list)
    """Not acknowledged, and there all the same."""
    indeterminate: list[str] = field(default_factory=list)
    """Not acknowledged, and not there."""


@dataclass(slots=True)
class Verdict:
    """What the checker found; the lists name what is wrong."""

    events: Queue = field(default_factory=Queue)
    deliveries: Queue = field(default_factory=Queue)
    dead_letters: int = 0
    unlisted: int = 0
    """Deliveries that only the ledger and a digest's count know of: a digest names 100 of its members."""
    unfinished: list[str] = field(default_factory=list)
    excused: int = 0
    """Duplicates that a fault between sending and recording explains."""
    repeated: int = 0
    """Messages that came again: a digest counts once, and each repetition."""
    beyond: list[str] = field(default_factory=list)
    """Deliveries that came again more often than the ledger took a claim of theirs back."""
    regrouped: int = 0
    """Excused duplicates in another digest, after Redis lost its last writes or the machine stood still."""
    other_ids: list[str] = field(default_factory=list)
    """Duplicates that came under another id than the first copy."""
    miscounted: list[str] = field(default_factory=list)
    """Targets whose ledger ended more or fewer deliveries than there were: a result was accepted twice, or made up."""
    transitions: int = 0
    holes: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    broken_chains: list[str] = field(default_factory=list)
    beats: int = 0
    beats_lost: list[str] = field(default_factory=list)
    false_deaths: list[str] = field(default_factory=list)
    deaths: int = 0
    silences: int = 0
    missed: list[str] = field(default_factory=list)
    deaths_lags: list[tuple[float, float]] = field(default_factory=list)
    """Per death of which the deadline is known: when, and how many ms after the deadline."""
    uncaused: list[str] = field(default_factory=list)
    vanished: list[str] = field(default_factory=list)

    @property
    def lags(self) -> list[float]:
        return [lag for _, lag in self.deaths_lags]

"""What a scenario is given and what it returns."""

import random
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Row:
    """One figure of the scorecard. `n` is the number of cases it was seen in, `goal` says what is wanted in words.

    `few` is a fault that was injected less often than wanted: nothing broke, and less was tried.
    """

    promise: str
    figure: str
    value: str
    n: int
    goal: str
    held: bool
    few: bool = False


@dataclass(slots=True)
class Score:
    """The rows of one scenario; `notes` are what a reader should know beside them."""

    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    part: float = 1.0
    """How much of what was wanted was reached: a busy machine does fewer kills in its time, and the page says so."""

    @staticmethod
    def row(promise: str, figure: str, value: str, n: int, goal: str, held: bool) -> Row:
        """Any other figure."""
        return Row(promise, figure, value, n, goal, held)

    def reach(self, promise: str, figure: str, found: int, wanted: int) -> None:
        """How often something was done of the number wanted at this scale."""
        self.part = min(self.part, found / wanted)
        goal = f"{wanted:,} wanted"
        self.rows.append(Row(promise, figure, f"{found:,}", found, goal, held=found > 0, few=found < wanted))

    def zero(self, promise: str, figure: str, found: int, n: int) -> None:
        """A figure that must be 0, in `n` cases; no case at all proves nothing and fails."""
        self.rows.append(Row(promise, figure, f"{found:,}", n, "0", found == 0 and n > 0))

    def exactly(self, promise: str, figure: str, found: int, wanted: int, n: int) -> None:
        """A figure that must be this number, in `n` cases."""
        self.rows.append(Row(promise, figure, f"{found:,}", n, f"{wanted:,}", found == wanted and n > 0))

    def at_most(self, promise: str, figure: str, value: float, limit: float, n: int, unit: str = "") -> None:
        """A figure with an upper bound, in `n` cases."""
        told = f"{value:,.2f}{unit}" if value < 100 else f"{value:,.0f}{unit}"
        self.rows.append(Row(promise, figure, told, n, f"≤ {limit:g}{unit}", value <= limit and n > 0))

    def told(self, promise: str, figure: str, value: str, n: int, goal: str = "published") -> None:
        """A figure that is measured and published, without a bound."""
        self.rows.append(Row(promise, figure, value, n, goal, held=True))

    @property
    def held(self) -> bool:
        return bool(self.rows) and all(row.held for row in self.rows)

    def as_json(self) -> dict[str, Any]:
        return {"rows": [asdict(row) for row in self.rows], "notes": self.notes}


@dataclass(frozen=True, slots=True)
class Context:
    """What a scenario gets. `budget` in seconds; `scale` is 1.0 when it is run as large as the goals say."""

    seed: int
    rng: random.Random
    budget: float
    scale: float
    folder: Path

    def count(self, full: int, *, least: int = 1) -> int:
        """How many of something to do at this scale."""
        return max(least, round(full * min(1.0, self.scale)))

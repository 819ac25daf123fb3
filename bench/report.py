"""What a row says of itself: measures with their goals, and curves for the plots."""

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

OUT = "PULSE_BENCH_OUT"
"""The file that `python bench` collects a row's results from; a row run by hand only prints them."""


@dataclass(frozen=True, slots=True)
class Measure:
    """One line of the table. `value` is compared with `goal`: at most that, or with `at_least` no less."""

    name: str
    text: str
    value: float | None = None
    goal: float | None = None
    at_least: bool = False

    @property
    def met(self) -> bool | None:
        """Whether the goal is reached; None where there is none."""
        if self.goal is None or self.value is None:
            return None
        return self.value >= self.goal if self.at_least else self.value <= self.goal


@dataclass(frozen=True, slots=True)
class Curve:
    """Points (x, y) of one line in the plot of this name."""

    plot: str
    label: str
    points: tuple[tuple[float, float], ...]


def report(title: str, measures: Sequence[Measure], curves: Sequence[Curve] = ()) -> None:
    """Prints the table, and leaves it for the page when `python bench` asks for that."""
    width = max(len(one.name) for one in measures)
    print(f"\n{title}")
    for one in measures:
        print(f"  {one.name:<{width}}  {one.text}{_verdict(one)}")
    if path := os.environ.get(OUT):
        found = {
            "title": title,
            "measures": [{**asdict(one), "met": one.met} for one in measures],
            "curves": [asdict(one) for one in curves],
        }
        with Path(path).open("a") as file:
            file.write(json.dumps(found, ensure_ascii=False) + "\n")


def _verdict(one: Measure) -> str:
    if one.met is None:
        return ""
    return f"  [goal {'≥' if one.at_least else '≤'} {one.goal:g}: {'met' if one.met else 'MISSED'}]"


def progress(what: str, done: int, total: int) -> None:
    """How far a long step is: on a terminal one line that is overwritten, elsewhere a line per tenth."""
    share = done / total
    if sys.stderr.isatty():
        end = "\n" if done >= total else ""
        print(f"\r  {what}: {done:,} of {total:,} ({share:.0%})   ", end=end, file=sys.stderr, flush=True)
    elif _told.get(what) != int(share * 10):
        _told[what] = int(share * 10)
        print(f"  {what}: {done:,} of {total:,}", file=sys.stderr, flush=True)


_told: dict[str, int] = {}

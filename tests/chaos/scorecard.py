"""The scorecard: results of scenarios as text for a terminal and as the tables of `docs/reliability.md`."""

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from chaos.score import Row

ROOT: Final = Path(__file__).resolve().parents[2]
PAGE: Final = ROOT / "docs" / "reliability.md"
RESULTS: Final = ROOT / "docs" / "reliability"
"""One JSON file per scenario: its largest run, from which the page is made."""
BEGIN: Final = "<!-- scorecard: begin -->"
END: Final = "<!-- scorecard: end -->"


@dataclass(slots=True)
class Result:
    """What one scenario came to. `seconds` is what it took, `error` the traceback of one that broke."""

    name: str
    promise: str
    seed: int
    scale: float
    seconds: float
    day: str
    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    error: str = ""

    @property
    def held(self) -> bool:
        return not self.error and bool(self.rows) and all(row.held for row in self.rows)


def save(result: Result, path: Path) -> None:
    """Writes a result as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(asdict(result), indent=1, ensure_ascii=False) + "\n", "utf-8")


def load(path: Path) -> Result:
    """Reads a result back."""
    fields: dict[str, Any] = json.loads(path.read_text("utf-8"))
    fields["rows"] = [Row(**row) for row in fields["rows"]]
    return Result(**fields)


def merge(results: Iterable[Result], folder: Path = RESULTS) -> None:
    """Keeps each result unless the folder has one of a larger run of that scenario."""
    for result in results:
        path = folder / f"{result.name}.json"
        if result.error or (path.exists() and load(path).scale > result.scale):
            continue
        save(result, path)


def bound(row: Row) -> str:
    """n, and for a 0 what it says of the true rate: with 95 % confidence it is below about 3/n."""
    if row.goal == "0" and row.value == "0" and row.n:
        return f"{row.n:,} (rate below {3 / row.n:.1g})"
    return f"{row.n:,}"


def text(results: Sequence[Result]) -> str:
    """The scorecard for a terminal. What failed stands right below its scenario, so that a log cut short tells it."""
    lines = []
    for result in results:
        lines.append(f"{'held  ' if result.held else 'FAILED'} {result.name}: {result.promise}")
        missed = [_line(row) for row in result.rows if not row.held]
        fine = [_line(row) for row in result.rows if row.held]
        notes = [f"       {note}" for note in result.notes]
        broke = [f"       {line}" for line in result.error.splitlines()[-12:]]
        lines += [*fine, *notes] if result.held else [*missed, *broke, *notes, *fine]
    return "\n".join(lines)


def _line(row: Row) -> str:
    word = "NO" if not row.held else "few" if row.few else "ok"
    return f"  {word:>4} {row.figure}: {row.value} (goal {row.goal}; n = {bound(row)})"


def table(results: Sequence[Result]) -> str:
    """The scorecard in Markdown: a heading and a table per scenario."""
    parts = []
    for result in sorted(results, key=lambda one: one.name):
        size = "full scale" if result.scale >= 0.995 else f"{result.scale:.0%} of full scale"
        when = f"Seed {result.seed}, {result.seconds:.0f} s, {size}, {result.day}."
        head = f"### {result.name}: {result.promise}\n\n{when}"
        rows = ["| figure | found | goal | n |", "|---|---|---|---|"]
        for row in result.rows:
            mark = " **failed**" if not row.held else ", fewer than wanted" if row.few else ""
            rows.append(f"| {row.figure} | {row.value}{mark} | {row.goal} | {bound(row)} |")
        notes = ["", *(f"- {note}" for note in result.notes)] if result.notes else []
        parts.append("\n".join([head, "", *rows, *notes]))
    return "\n\n".join(parts)


def write(page: Path = PAGE, folder: Path = RESULTS) -> None:
    """Puts the tables of all kept results between the markers of the page; the prose around stays."""
    before, _, rest = page.read_text("utf-8").partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        raise ValueError(f"{page} has no place for the scorecard")
    results = [load(path) for path in sorted(folder.glob("*.json"))]
    page.write_text(f"{before}{BEGIN}\n\n{table(results)}\n\n{END}{after}", "utf-8")


def main() -> None:
    """`python -m chaos.scorecard FOLDER …`: merges the results in folders and writes the page."""
    merge(load(path) for folder in sys.argv[1:] for path in sorted(Path(folder).glob("*.json")))
    write()


if __name__ == "__main__":
    main()

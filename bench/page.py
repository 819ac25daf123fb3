"""docs/performance.md and its plots, made from the newest results: `python bench/page.py`."""

from pathlib import Path
from typing import Any

from ground import ROOT
from plots import Plot, draw
from results import OURS, QUIET, Run, is_busy, newest
from rows import ROWS, Row

PAGE = ROOT / "docs" / "performance.md"
OLDEST = "redis-server"
PICTURES = ROOT / "docs" / "performance"

PLOTS = {
    "ingest": Plot(
        "Heartbeats by clients at once, one collector on one core", "clients at once", "per second"
    ),
    "detection": Plot(
        "Detection lag of 1,000 deaths at once",
        "monitors in all",
        "ms after the deadline",
        goals=(("goal among 1,000", 50), ("among 100,000", 100), ("among 1,000,000", 250)),
    ),
    "deliveries": Plot("Webhook deliveries by workers", "workers", "per second", logarithmic=False),
    "memory": Plot(
        "Redis' memory by monitors",
        "monitors",
        "bytes per monitor",
        goals=(("goal on Redis", 800), ("goal on Valkey", 600)),
    ),
    "ceiling": Plot(
        "Redis alone: heartbeats by heartbeats in one call", "heartbeats in one call", "per second"
    ),
}

HEAD = """# Performance

Every figure here was taken by `make bench`; `make bench ROW=ingest` takes one row anew. A row with a ceiling runs in
turns with it, on the same cores, so that the ratio also holds on another machine; absolute numbers belong to this one.
Titles say how many runs a figure is the median of; `mass_death` happens once in a run. Processes run and log as an
operator's do. Redis writes its append-only file (`everysec`) in every row but `memory`. This page is written by the
measurements (`bench/page.py`): what is to stay is changed there.

A goal is met when the newest three runs of the row reached it; `2 of 3` says how many did. The text is the newest
one's, and each section names the commits of all that count. Runs beside other work on the machine, or while its host
gave more than 0.5% of the processor's time to other machines, are called busy, and count only where there is no other.

"""


def write() -> None:
    """Writes the page, and a plot for each name among the curves."""
    machine, found = newest()
    parts = [HEAD, "## The machine\n\n| | |\n|---|---|\n"]
    parts += [f"| {name} | {value} |\n" for name, value in machine.items() if value]
    parts.append("\n## At a glance\n\n| row | what | measured | goal | met |\n|---|---|---|---|---|\n")
    for row in ROWS:
        parts += _goals(row, found.get(row.name, []))
    parts += _beside()
    PICTURES.mkdir(exist_ok=True)
    for row in ROWS:
        parts += _section(row, found.get(row.name, []), machine)
    PAGE.write_text("".join(parts))


def _beside() -> list[str]:
    """What the newest runs on the oldest server found, where there are any."""
    _, found = newest(OLDEST)
    parts = []
    for row in ROWS:
        parts += _goals(row, found.get(row.name, []))
    if not parts:
        return []
    head = (
        "\n## On Redis 7.0\n\nThe same rows on the oldest server that is supported, which fetches no keys ahead "
        f"(`PULSE_BENCH_SERVER={OLDEST} make bench ROW=…`).\n\n"
        "| row | what | measured | goal | met |\n|---|---|---|---|---|\n"
    )
    return [head, *parts]


def _goals(row: Row, runs: list[Run]) -> list[str]:
    """The measures that have a goal, as rows of the first table."""
    parts = []
    for table in runs[0]["tables"] if runs else []:
        for one in table["measures"]:
            if one["met"] is None:
                continue
            sign = "≥" if one["at_least"] else "≤"
            link = f"[{row.name}](#{row.name})"
            parts.append(
                f"| {link} | {one['name']} | {one['text']} | {sign} {one['goal']:g} | {_met(one['name'], runs)} |\n"
            )
    return parts


def _met(name: str, runs: list[Run]) -> str:
    verdicts = [
        one["met"]
        for run in runs
        for table in run["tables"]
        for one in table["measures"]
        if one["name"] == name
    ]
    good = sum(map(bool, verdicts))
    busy = ", busy" if is_busy(runs[0]) else ""
    if good == len(verdicts):
        return f"yes (n = {len(verdicts)}{busy})"
    return f"**{good} of {len(verdicts)}**{busy}" if good else f"**no** (n = {len(verdicts)}{busy})"


def _section(row: Row, runs: list[Run], machine: dict[str, str]) -> list[str]:
    parts = [f"\n## {row.name}\n\n{row.what}\n"]
    if not runs:
        return [*parts, "\nNot measured yet.\n"]
    parts.append(
        f"\nMeasured {runs[0]['at']} UTC at `{runs[0]['commit']}`{_elsewhere(runs[0], machine)}{_busy(runs[0])}"
        f"{_others(runs[1:])}.\n"
    )
    curves: dict[str, list[Any]] = {}
    for table in runs[0]["tables"]:
        parts.append(f"\n{table['title'][0].upper()}{table['title'][1:]}:\n\n| | |\n|---|---|\n")
        parts += [f"| {one['name']} | {one['text']} |\n" for one in table["measures"]]
        for curve in table["curves"]:
            curves.setdefault(curve["plot"], []).append((curve["label"], curve["points"]))
    for name, lines in curves.items():
        if name in PLOTS:
            Path(PICTURES, f"{name}.svg").write_text(draw(PLOTS[name], lines))
            parts.append(f"\n![{PLOTS[name].title}](performance/{name}.svg)\n")
    return parts


def _others(runs: list[Run]) -> str:
    """When and at which commits the other runs that count were made."""
    if not runs:
        return ""
    return "; before that " + ", ".join(f"{run['at']} at `{run['commit']}`" for run in runs)


def _busy(run: Run) -> str:
    """What a reader should know of a machine that had other work."""
    busy = run.get("busy")
    if busy is None:
        return ", on a machine whose other work was not noted"
    if busy > QUIET:
        return f", while {busy:g} other processes wanted the machine's cores"
    stolen: float = run.get("stolen", 0)
    return f", while {stolen:.1%} of the processor's time went to other machines" if stolen > OURS else ""


def _elsewhere(run: Run, machine: dict[str, str]) -> str:
    """The processor, where it is not that of the newest run, which the page names."""
    processor = run["machine"]["processor"]
    return "" if processor == machine["processor"] else f" on {processor}"


if __name__ == "__main__":
    write()

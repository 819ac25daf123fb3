"""Results on disk: `results/<date>.json` holds every run of every row of that day."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "results"
KEPT = 3
"""Runs of a row that the page looks at: a goal is reached when all of them reach it."""

QUIET = 1.0
"""Other processes that want to run, on average; fewer are the system's own."""

Run = dict[str, Any]
"""A run of a row: row, at, commit, busy (how many other processes wanted to run just before), tables (title, measures,
curves), and the machine where it differs from the day's first."""


def add(run: Run, machine: dict[str, str]) -> None:
    """Writes one run into the file of its day."""
    path = FOLDER / f"{run['at'][:10]}.json"
    day = json.loads(path.read_text()) if path.exists() else {"machine": machine, "runs": []}
    if day["machine"] != machine:
        run = {**run, "machine": machine}
    day["runs"].append(run)
    FOLDER.mkdir(exist_ok=True)
    path.write_text(json.dumps(day, indent=1, ensure_ascii=False) + "\n")


def newest() -> tuple[dict[str, str], dict[str, list[Run]]]:
    """The machine of the newest run, and of each row its newest runs, the newest first.

    Runs beside other work count only where there is no other.
    """
    machine: dict[str, str] = {}
    found: dict[str, list[Run]] = {}
    for path in sorted(FOLDER.glob("*.json"), reverse=True):
        day = json.loads(path.read_text())
        machine = machine or day["machine"]
        for run in reversed(day["runs"]):
            found.setdefault(run["row"], []).append(run)
    for row, runs in found.items():
        quiet = [run for run in runs if not is_busy(run)]
        found[row] = (quiet or runs)[:KEPT]
    return machine, found


def is_busy(run: Run) -> bool:
    """Whether the machine had other work, or nobody noted that it had none."""
    busy: float = run.get("busy", QUIET + 1)
    return busy > QUIET


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M")

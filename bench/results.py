"""Results on disk: `results/<date>.json` holds every run of every row of that day."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ground import EMBEDDED

FOLDER = Path(__file__).parent / "results"
KEPT = 3
"""Runs of a row that the page looks at: a goal is reached when all of them reach it."""

QUIET = 1.0
"""Other processes that want to run, on average; fewer are the system's own."""
OURS = 0.005
"""The share of the processor's time that other virtual machines may take; a quiet host takes a tenth of it."""

Run = dict[str, Any]
"""A run of a row: row, at, commit, server (as `PULSE_BENCH_SERVER` names it; the embedded one where none is), busy
(how many other processes wanted to run just before), stolen (the share of the processor's time that the host gave to
others meanwhile), tables (title, measures, curves), and the machine where it differs from the day's first."""


def add(run: Run, machine: dict[str, str]) -> None:
    """Writes one run into the file of its day."""
    path = FOLDER / f"{run['at'][:10]}.json"
    day = json.loads(path.read_text()) if path.exists() else {"machine": machine, "runs": []}
    if day["machine"] != machine:
        run = {**run, "machine": machine}
    day["runs"].append(run)
    FOLDER.mkdir(exist_ok=True)
    path.write_text(json.dumps(day, indent=1, ensure_ascii=False) + "\n")


def newest(server: str = EMBEDDED) -> tuple[dict[str, str], dict[str, list[Run]]]:
    """The machine of the newest run on a server of that name, and of each row its newest runs, the newest first.

    Runs beside other work count only where there is no other. Each run names its machine.
    """
    machine: dict[str, str] = {}
    found: dict[str, list[Run]] = {}
    for path in sorted(FOLDER.glob("*.json"), reverse=True):
        day = json.loads(path.read_text())
        for run in reversed(day["runs"]):
            if run.get("server", EMBEDDED) != server:
                continue
            run.setdefault("machine", day["machine"])
            machine = machine or run["machine"]
            found.setdefault(run["row"], []).append(run)
    for row, runs in found.items():
        quiet = [run for run in runs if not is_busy(run)]
        found[row] = (quiet or runs)[:KEPT]
    return machine, found


def is_busy(run: Run) -> bool:
    """Whether the machine or its host had other work, or nobody noted that it had none."""
    busy: float = run.get("busy", QUIET + 1)
    stolen: float = run.get("stolen", 0)
    return busy > QUIET or stolen > OURS


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M")

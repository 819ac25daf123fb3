"""Runs the measurements one after another: `make bench`, or `make bench ROW=ingest` for one.

Each row is a file beside this one that prints its table with the ratio, the goal and n. They want a quiet machine with
two cores. The results go into `results/<date>.json`, and `docs/performance.md` is made anew from the newest of them.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import filled
import machine
import page
import report
import results
from ground import server_name
from rows import ROWS

HERE = Path(__file__).parent


def run(row: str) -> bool:
    """Runs one row and keeps what it found; False when it did not run to its end."""
    with tempfile.TemporaryDirectory(prefix="pulse-bench-") as folder:
        out = Path(folder) / "out"
        began, commit, busy, clock = results.now(), machine.commit(), machine.busy(), machine.clock()
        done = subprocess.run(
            [sys.executable, str(HERE / f"{row}.py")], env={**os.environ, report.OUT: str(out)}, check=False
        )
        if done.returncode or not out.exists():
            return False
        tables = [json.loads(line) for line in out.read_text().splitlines()]
    found = {
        "row": row,
        "at": began,
        "commit": commit,
        "server": server_name(),
        "busy": busy,
        "stolen": machine.stolen(clock),
        "tables": tables,
    }
    results.add(found, machine.describe())
    page.write()
    return True


def main(wanted: list[str]) -> int:
    """0 when every row ran."""
    names = [row.name for row in ROWS]
    unknown = set(wanted) - set(names)
    if unknown:
        print(f"no such row: {', '.join(sorted(unknown))}; there are {', '.join(names)}")
        return 2
    failed = []
    with tempfile.TemporaryDirectory(prefix="pulse-bench-") as folder:
        os.environ.setdefault(filled.KEPT, folder)
        for number, row in enumerate(wanted or names, 1):
            print(f"\n[{number}/{len(wanted or names)}] {row}", flush=True)
            if not run(row):
                failed.append(row)
    if failed:
        print(f"did not run to the end: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

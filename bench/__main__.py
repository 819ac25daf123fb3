"""Runs the measurements one after another: `make bench`, or `make bench ROW=ingest` for one.

Each is a file beside this one that prints its table with the ratio, the goal and n. They want a quiet machine with two
cores; every ratio is taken in one run, so that it holds on a slower machine too.
"""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
ROWS = sorted(path.stem for path in HERE.glob("*.py") if path.stem not in {"__main__", "ground"})


def main(wanted: list[str]) -> int:
    """0 when every row ran."""
    unknown = set(wanted) - set(ROWS)
    if unknown:
        print(f"no such row: {', '.join(sorted(unknown))}; there are {', '.join(ROWS)}")
        return 2
    failed = []
    for number, row in enumerate(wanted or ROWS, 1):
        print(f"\n[{number}/{len(wanted or ROWS)}] {row}", flush=True)
        if subprocess.run([sys.executable, str(HERE / f"{row}.py")], check=False).returncode:
            failed.append(row)
    if failed:
        print(f"did not run to the end: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

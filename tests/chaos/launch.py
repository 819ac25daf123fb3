"""Starts one service as `mishpulse` does, with the points of `CHAOS_POINT` in it: `python -m chaos.launch watchdog`.

`CHAOS_KEEP` in the environment makes the ledger keep so many successes per target, for a checker that wants them all.
"""

import os
import sys

from chaos import points
from shared import delivery_upkeep

KEEP = "CHAOS_KEEP"


def main() -> None:
    """Runs `mishpulse` with this process's arguments."""
    if spelled := os.environ.get(points.VARIABLE, ""):
        points.install(spelled)
    if kept := os.environ.get(KEEP, ""):
        delivery_upkeep.KEPT_SUCCESSES = int(kept)  # type: ignore[misc]  # for this process alone
    from services.cli import main as mishpulse  # noqa: PLC0415 - after the points are in place

    mishpulse()


if __name__ == "__main__":
    sys.argv[0] = "mishpulse"
    main()

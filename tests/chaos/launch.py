"""Starts one service as `mishpulse` does, with the points of `CHAOS_POINT` in it: `python -m chaos.launch watchdog`."""

import os
import sys

from chaos import points


def main() -> None:
    """Runs `mishpulse` with this process's arguments."""
    if spelled := os.environ.get(points.VARIABLE, ""):
        points.install(spelled)
    from services.cli import main as mishpulse  # noqa: PLC0415 - after the points are in place

    mishpulse()


if __name__ == "__main__":
    sys.argv[0] = "mishpulse"
    main()

"""The console script `mishpulse`: checks the Python it runs on, then hands over to the verbs in `commands`.

Kept to what an old Python can parse, so that it ends with a sentence there and not with a SyntaxError.
"""

import sys

OLDEST = (3, 11)
NEWEST = (3, 13)


def main() -> None:
    """Runs the command line. Exit status: 0 done, 1 failed, 2 wrong settings or arguments."""
    if not OLDEST <= sys.version_info[:2] <= NEWEST:
        found = ".".join(map(str, sys.version_info[:2]))
        sys.exit(f"MishPulse needs Python 3.11, 3.12 or 3.13; this is {found} ({sys.executable})")

    from services.commands import run  # noqa: PLC0415 - it needs the Python that was just checked

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()

"""Values as they are typed on a command line. Pure but for `@file`."""

import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from shared.errors import ConfigError

UNITS: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
LONGEST: Final = 1_000_000
"""Characters read from a file."""


def duration(text: str) -> float:
    """Seconds of `300`, `90s`, `5m`, `2h`, `1d` or `1w`; ConfigError for anything else."""
    found = re.fullmatch(r"(\d{1,12}(?:\.\d{1,6})?)([smhdw]?)", text.strip())
    if found is None:
        raise ConfigError(f"{text!r} is no duration: write 300, 90s, 5m, 2h or 1d")
    return float(found[1]) * UNITS[found[2]]


def read(text: str) -> str:
    """The text itself, or with `@file` what the file holds and with `@-` the standard input, without its last newline.

    So that a secret need not stand in the list of processes.
    """
    if not text.startswith("@"):
        return text
    try:
        if text == "@-":
            return sys.stdin.read(LONGEST).removesuffix("\n")
        with Path(text[1:]).open(encoding="utf-8") as file:
            return file.read(LONGEST).removesuffix("\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigError(f"{text[1:]} cannot be read: {reason}") from None


def pairs(given: Sequence[str]) -> dict[str, Any]:
    """`name=value` and `name.key=value` as a mapping; a value may be `@file`."""
    found: dict[str, Any] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise ConfigError(f"{text!r} is no setting: write name=value")
        outer, dot, inner = name.partition(".")
        if dot:
            found.setdefault(outer, {})[inner] = read(value)
        else:
            found[name] = read(value)
    return found


def json_object(text: str) -> dict[str, Any]:
    """A JSON object; ConfigError for anything else."""
    try:
        found = json.loads(read(text))
    except ValueError as error:
        raise ConfigError(f"the payload is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise ConfigError('the payload must be a JSON object such as {"order": 7}')
    return found

"""How telemetry fared: counts that outlive the process, one file per sender."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

from . import state

if TYPE_CHECKING:
    from pathlib import Path

PREFIX = "telemetry-"


@dataclass(frozen=True)
class Counts:
    """Sent, skipped (not yet an hour) and failed runs; times are Unix seconds, 0 when never."""

    name: str = ""
    url: str = ""
    sent: int = 0
    skipped: int = 0
    failed: int = 0
    last_success: float = 0.0
    last_failure: float = 0.0
    last_error: str = ""


def path_of(name: str, folder: Path) -> Path:
    """The file of that sender, whatever characters its name has."""
    plain = "".join(character if character.isalnum() or character in ".-_" else "-" for character in name)
    return folder / f"{PREFIX}{plain[:150]}.json"


def read(path: Path) -> Counts:
    """The counts in the file; what is missing or of another type counts as never."""
    kept = state.read(path)
    values: dict[str, Any] = {}
    for field in fields(Counts):
        value = kept.get(field.name)
        if isinstance(value, (int, float)) if field.type != "str" else isinstance(value, str):
            values[field.name] = value
    return Counts(**values)


def record(path: Path, name: str, url: str, outcome: str, error: str = "") -> None:
    """Add one to `sent`, `skipped` or `failed`; raises OSError where the file cannot be written."""
    with state.locked(path, wait=True):
        values = asdict(read(path))
        values[outcome] += 1
        values.update(name=name, url=url)
        if outcome == "sent":
            values["last_success"] = time.time()
        elif outcome == "failed":
            values.update(last_failure=time.time(), last_error=error[:300])
        state.write(path, values)


def read_all(folder: Path) -> list[Counts]:
    """Every sender of this user."""
    return [read(path) for path in sorted(folder.glob(f"{PREFIX}*.json"))]

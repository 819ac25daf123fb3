"""Times as clients write them. Pure."""

from datetime import UTC, datetime
from typing import Final

LATEST: Final = 253_402_300_799_000
"""The last ms of the year 9999."""


def parse_time(value: str | float) -> int:
    """Ms since 1970 of a time in ISO 8601 (UTC when it names no zone) or of Unix seconds; raises ValueError."""
    if isinstance(value, str):
        try:
            at = datetime.fromisoformat(value.strip())
        except ValueError:
            raise ValueError("write a time such as 2025-10-16T12:00:00Z") from None
        value = (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
    if not 0 <= value * 1000 <= LATEST:  # also false for NaN
        raise ValueError("the time must lie between the years 1970 and 9999")
    return int(value * 1000)

"""Times and durations in words, in English and Russian. Pure."""

from datetime import UTC, datetime
from functools import lru_cache

from shared.channels import Language

SECOND = 1000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

_UNITS = (DAY, HOUR, MINUTE, SECOND)
_ENGLISH = {DAY: "day", HOUR: "hour", MINUTE: "minute", SECOND: "second"}
_RUSSIAN = {
    DAY: ("день", "дня", "дней"),
    HOUR: ("час", "часа", "часов"),
    MINUTE: ("минута", "минуты", "минут"),
    SECOND: ("секунда", "секунды", "секунд"),
}
"""With 1, with 2 (also the genitive singular), with 5 (also the genitive plural)."""


def plural(count: int, one: str, few: str, many: str) -> str:
    """The Russian form that goes with `count`: 1 монитор, 2 монитора, 5 мониторов, 21 монитор."""
    if count % 10 == 1 and count % 100 != 11:
        return one
    if count % 10 in {2, 3, 4} and count % 100 not in {12, 13, 14}:
        return few
    return many


def duration(ms: int, language: Language) -> str:
    """The two largest units of `ms`, rounded down: "1 hour 30 minutes"; below a minute "1.5 seconds"."""
    return " ".join(_part(*part, language, genitive=False) for part in _parts(ms))


def more_than(ms: int, language: Language) -> str:
    """The same after "more than" or "более", which wants the genitive: "более 21 минуты"."""
    return _more_than(ms, language)


@lru_cache(maxsize=1024)  # most monitors share a few timeouts
def _more_than(ms: int, language: Language) -> str:
    lead = "more than " if language == "en" else "более "
    return lead + " ".join(_part(*part, language, genitive=True) for part in _parts(ms))


def _parts(ms: int) -> list[tuple[float, int]]:
    if ms < MINUTE:
        return [(max(ms, 0) / SECOND, SECOND)]
    parts: list[tuple[float, int]] = []
    for unit in _UNITS:
        count, ms = divmod(ms, unit)
        if parts:  # the unit right below the largest, or none
            return [*parts, (count, unit)] if count else parts
        if count:
            parts.append((count, unit))
    return parts


def _part(count: float, unit: int, language: Language, *, genitive: bool) -> str:
    whole = count == int(count)
    number = str(int(count)) if whole else f"{count:.3f}".rstrip("0")
    if language == "en":
        return f"{number} {_ENGLISH[unit]}{'' if count == 1 else 's'}"
    one, few, many = _RUSSIAN[unit]
    if not whole:
        return f"{number.replace('.', ',')} {few}"
    if genitive:
        return f"{number} {plural(int(count), few, many, many)}"
    return f"{number} {plural(int(count), one, few, many)}"


def clock(ms: int, now: int, *, seconds: bool = False) -> str:
    """Such as "12:03 UTC", with the date in front once twelve hours could make it another day's."""
    time = datetime.fromtimestamp(ms / 1000, UTC)
    day = f"{time:%Y-%m-%d} " if abs(now - ms) >= 12 * HOUR else ""
    second = f":{time.second:02}" if seconds else ""
    return f"{day}{time.hour:02}:{time.minute:02}{second} UTC"

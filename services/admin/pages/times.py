"""Times as people read them. Pure, but for the clock that a page is drawn by."""

import time
from collections.abc import Callable
from datetime import UTC, datetime

Translate = Callable[..., str]

NOTHING = "\u2013"
_STEPS = ((86_400_000, "{n} d"), (3_600_000, "{n} h"), (60_000, "{n} min"), (1000, "{n} s"))


def now_ms() -> int:
    """The time of this machine in ms: only what a page says of "ago" depends on it."""
    return int(time.time() * 1000)


def parse(iso: str | None) -> int | None:
    """The ms of a time as the API writes it."""
    return int(datetime.fromisoformat(iso).timestamp() * 1000) if iso else None


def lasting(ms: float | None, translate: Translate) -> str:
    """A duration in its largest unit: "5 min"; below a second in ms."""
    if ms is None:
        return NOTHING
    for size, words in _STEPS:
        if ms >= size:
            return translate(
                words, n=f"{ms / size:.0f}" if ms >= 10 * size else f"{ms / size:.1f}".removesuffix(".0")
            )
    return translate("{n} ms", n=round(ms))


def ago(ms: int | None, now: int, translate: Translate) -> str:
    """How long ago, in whole units: "2 min ago"; what lies ahead is "in 2 min"."""
    if ms is None:
        return translate("never")
    distance = abs(now - ms)
    for size, words in _STEPS:
        if distance >= size:
            span = translate(words, n=int(distance / size))
            return translate("{span} ago", span=span) if ms <= now else translate("in {span}", span=span)
    return translate("just now")


def stamp(ms: int | None) -> str:
    """A time to the second in UTC."""
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC") if ms is not None else ""


def machine(ms: int) -> str:
    """A time as `<time datetime>` wants it."""
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

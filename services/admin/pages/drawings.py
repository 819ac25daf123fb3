"""Small pictures as SVG: what happened lately, at a glance. Pure; every number in them is ours."""

from collections.abc import Sequence
from datetime import date
from typing import Protocol

from markupsafe import Markup

from services.admin.pages.times import NOTHING, machine, stamp


class Day(Protocol):
    """A day of a history: its date, and its uptime in percent, None when nothing counted."""

    @property
    def date(self) -> str:
        """As ISO 8601 writes it."""

    @property
    def uptime(self) -> float | None:
        """In percent."""


BEATS_SHOWN = 30
STEP = 6
HEIGHT = 20


def beats(entries: Sequence[tuple[int, str]], label: str) -> Markup:
    """Recent heartbeats as bars, oldest first, at the right edge: (ms, kind); what is bad stands taller."""
    width = BEATS_SHOWN * STEP
    shown = list(entries)[-BEATS_SHOWN:]
    bars = [Markup('<rect class="b-none" x="{}" y="14" width="4" height="6" rx="1"/>').format(x * STEP)
            for x in range(BEATS_SHOWN - len(shown))]  # fmt: skip
    tall = {"ok": 12, "warning": 16, "error": 20}
    for i, (_, kind) in enumerate(shown, BEATS_SHOWN - len(shown)):
        high = tall.get(kind, 6)
        bars.append(
            Markup('<rect class="b-{}" x="{}" y="{}" width="4" height="{}" rx="1"/>').format(
                kind if kind in tall else "other", i * STEP, HEIGHT - high, high
            )
        )
    return Markup(
        '<svg class="beats" viewBox="0 0 {} {}" width="{}" height="{}" role="img" aria-label="{}">{}</svg>'
    ).format(width, HEIGHT, width, HEIGHT, label, Markup("").join(bars))


def sparkline(values: Sequence[int], label: str) -> Markup:
    """A row of counts as a filled line."""
    top, width, height = max([*values, 1]), 120, 28
    step = width / max(1, len(values) - 1)
    points = [
        f"{i * step:.1f},{height - 2 - value / top * (height - 4):.1f}" for i, value in enumerate(values)
    ]
    return Markup(
        '<svg class="spark" viewBox="0 0 {w} {h}" width="{w}" height="{h}" role="img" aria-label="{label}">'
        '<polygon points="0,{h} {points} {w},{h}"/><polyline points="{points}"/></svg>'
    ).format(w=width, h=height, points=" ".join(points), label=label)


def bar(share: float, kind: str = "") -> Markup:
    """A horizontal bar of a chart; `share` of its whole width."""
    return Markup(
        '<svg class="bar {}" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">'
        '<rect class="track" width="100" height="8"/><rect class="fill" width="{:.2f}" height="8"/></svg>'
    ).format(kind, max(0.0, min(1.0, share)) * 100)


def when(ms: int | None, words: str) -> Markup:
    """A time that the page's script keeps fresh; the exact one shows on hovering and to machines."""
    if ms is None:
        return Markup("{}").format(words)
    return Markup('<time datetime="{}" title="{}">{}</time>').format(machine(ms), stamp(ms), words)


LEVELS = (("full", 100.0), ("good", 99.0), ("poor", 95.0))
CELL = 18


def level(uptime: float | None) -> str:
    """How good a day was, in a word that its colour is chosen by."""
    if uptime is None:
        return "none"
    return next((name for name, least in LEVELS if uptime >= least), "bad")


def grid(days: Sequence[Day]) -> Markup:
    """Days as squares, a week a column, the oldest on the left; each says its date and uptime."""
    lead = date.fromisoformat(days[0].date).weekday() if days else 0
    cells = [
        Markup(
            '<rect class="d-{}" x="{}" y="{}" width="15" height="15" rx="3"><title>{}</title></rect>'
        ).format(level(day.uptime), (i + lead) // 7 * CELL, (i + lead) % 7 * CELL, told(day))
        for i, day in enumerate(days)
    ]
    width = ((len(days) + lead + 6) // 7) * CELL
    return Markup(
        '<svg class="grid" viewBox="0 0 {w} {h}" width="{w}" height="{h}" aria-hidden="true">{cells}</svg>'
    ).format(w=width, h=7 * CELL, cells=Markup("").join(cells))


def strip(days: Sequence[Day], label: str) -> Markup:
    """Days as a row of bars, the oldest first."""
    bars = [
        Markup('<rect class="d-{}" x="{}" width="3" height="28" rx="1"><title>{}</title></rect>').format(
            level(day.uptime), i * 4, told(day)
        )
        for i, day in enumerate(days)
    ]
    return Markup(
        '<svg class="strip" viewBox="0 0 {w} 28" preserveAspectRatio="none" role="img" aria-label="{label}">'
        "{bars}</svg>"
    ).format(w=len(days) * 4 - 1, label=label, bars=Markup("").join(bars))


def told(day: Day) -> str:
    """A day in words: its date and uptime."""
    return f"{day.date}: {NOTHING if day.uptime is None else f'{day.uptime:g} %'}"

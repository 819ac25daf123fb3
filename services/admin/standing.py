"""What everybody may see of how things stand: names, statuses, uptime and incidents, and nothing else."""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from services.admin import overview, past
from services.admin.overview import Row
from services.admin.status_pages import StatusPage
from services.admin.uptime import DAY, Days, Incident, date_of, percent, split, up_and_down, with_current
from shared.connection import Store

TELEMETRY_TAG: Final = "telemetry"
"""Shops that registered by themselves are customers' names: only a page that names the tag shows them."""
SHOWN: Final = 200
"""Monitors on a page: more of them take seconds to draw; the worst come first then."""
PAST_MS: Final = 14 * DAY
KEPT_S: Final = 5.0
PARTIAL: Final = ("error", "dead", "warning")


@dataclass(frozen=True)
class PublicDay:
    """A UTC day: its date and its uptime in percent."""

    date: str
    uptime: float | None


@dataclass(frozen=True)
class PublicMonitor:
    """A monitor as everybody sees it."""

    name: str
    status: str
    days: list[PublicDay]
    uptime: float | None


@dataclass(frozen=True)
class PublicIncident:
    """An incident as everybody sees it; times in ms."""

    id: str
    name: str
    status: str
    opened: int
    closed: int | None


@dataclass(frozen=True)
class Standing:
    """A page's content; `overall` is up, degraded, down, or none without any monitor that was heard."""

    overall: str
    monitors: list[PublicMonitor]
    hidden: int
    open: list[PublicIncident]
    past: list[PublicIncident]
    at: int


@dataclass
class Kept:
    """The newest content of each page, for a few seconds: a page in the news must not load Redis."""

    by_slug: dict[str, tuple[float, StatusPage | None, Standing]] = field(default_factory=dict)

    async def of(self, store: Store, slug: str, page: StatusPage | None) -> Standing:
        """A page's content, at most a few seconds old."""
        known = self.by_slug.get(slug)
        if known and known[1] == page and time.monotonic() - known[0] < KEPT_S:
            return known[2]
        found = await standing(store, page)
        self.by_slug[slug] = (time.monotonic(), page, found)
        return found


async def standing(store: Store, page: StatusPage | None) -> Standing:
    """How the monitors of a page stand; None is the default page, with all but the shops."""
    counts: Counter[str] = Counter()
    worst = overview.Best("status", SHOWN)
    async for rows in overview.pages(store):
        belonging = [row for row in rows if _belongs(row, page)]
        counts.update(row.status for row in belonging)
        worst.add(belonging)
    shown = worst.rows()
    if worst.seen <= SHOWN:
        shown = overview.first(sorted(shown, key=overview.ORDERS["created"]), "name", SHOWN)
    now = await past.now(store)
    monitors, incidents = [], []
    for row, (days, theirs) in zip(shown, await _histories(store, [row.id for row in shown]), strict=True):
        whole = with_current(days, row.status, row.since or now, now)
        monitors.append(_monitor(row, whole, theirs, now))
        incidents += [PublicIncident(one.id, row.name, one.worst, one.opened, one.closed) for one in theirs]
    incidents.sort(key=lambda one: one.opened, reverse=True)
    return Standing(
        overall=_overall(counts),
        monitors=monitors,
        hidden=worst.seen - len(shown),
        open=[one for one in incidents if one.closed is None],
        past=[one for one in incidents if one.closed is not None and one.closed > now - PAST_MS][:50],
        at=now,
    )


def _belongs(row: Row, page: StatusPage | None) -> bool:
    if page is None:
        return TELEMETRY_TAG not in row.tag_list
    return not page.tags or bool(set(page.tags) & set(row.tag_list))


def _overall(counts: Counter[str]) -> str:
    heard = counts.total() - counts["new"] - counts["paused"]
    if not heard:
        return "none"
    if counts["dead"] + counts["error"] == heard:
        return "down"
    return "degraded" if any(counts[status] for status in PARTIAL) else "up"


def _monitor(row: Row, days: Days, incidents: list[Incident], now: int) -> PublicMonitor:
    today = now // DAY
    shown = []
    for day in range(today - 89, today + 1):
        spent = {day: days[day]} if day in days else {}
        shown.append(
            PublicDay(date_of(day), percent(*up_and_down(spent, (), (day - 1) * DAY, (day + 1) * DAY)))
        )
    whole = percent(*up_and_down(days, incidents, now - 90 * DAY, now))
    return PublicMonitor(row.name, row.status, shown, whole)


async def _histories(store: Store, ids: Sequence[str]) -> list[tuple[Days, list[Incident]]]:
    return [split(one, found) for one, found in zip(ids, await past.histories(store, ids), strict=True)]

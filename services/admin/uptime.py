"""How much of its time a monitor was up. Pure.

Up is alive or warning; down is error or dead, which is exactly while an incident is open. Time as new or paused counts
for neither, so a monitor without any other time has no uptime. The sources are the daily rollup (ms per UTC day and
status), the status that goes on since its last change, and the incidents, which place the downtime within the day in
which a period begins; of that day's uptime as much counts as fits into the rest of the day.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import floor

from shared.model import Status

DAY = 86_400_000
PERIODS: Mapping[str, int] = {"24h": DAY, "7d": 7 * DAY, "30d": 30 * DAY, "90d": 90 * DAY}
COUNTED: tuple[Status, ...] = ("alive", "warning", "error", "dead")

Days = dict[int, dict[str, int]]
"""Day number since the epoch → status → ms."""


@dataclass(frozen=True, slots=True)
class Incident:
    """A time of error or silence in ms, `closed` None while it is open; `status` and `reason` of what opened it.

    `died` is when the monitor, opened by an error, became dead; `last` its last status before the incident closed.
    """

    id: str
    opened: int
    closed: int | None
    status: str
    reason: str
    died: int | None = None
    last: str = ""

    @property
    def worst(self) -> str:
        """The gravest status while it was open: `dead` or `error`."""
        return self.status if self.died is None else "dead"


def split(monitor_id: str, history: Mapping[str, str]) -> tuple[Days, list[Incident]]:
    """A monitor's history hash as its days and its incidents, newest first; what is neither is left out."""
    days: Days = {}
    incidents = []
    for field, value in history.items():
        head, _, tail = field.partition(":")
        if head == "i":
            incident = parse_incident(f"{monitor_id}.{tail}", value)
            if incident:
                incidents.append(incident)
        elif head.isdigit():
            days.setdefault(int(head), {})[tail] = int(value)
    return days, sorted(incidents, key=lambda incident: incident.opened, reverse=True)


def with_noted(
    history: Mapping[str, str], status: str | None, gen: str | None, since: str | None
) -> Mapping[str, str]:
    """A history hash with what a death that is only noted in the monitor's status (`model.completed`) owes it.

    The monitor is to be read before the history: what was written out in between is there already.
    """
    was, _, died = (status or "").partition("/")
    if not died or (incident := f"i:{int(gen or 0) + 1}") in history:
        return history
    whole = {**history, incident: f"{died}||dead|silence"}
    for day, lasted in _spread(int(since or died), int(died)):
        field = f"{day}:{was}"
        whole[field] = str(int(history.get(field, 0)) + lasted)
    return whole


def _spread(start: int, end: int) -> Iterator[tuple[int, int]]:
    """The UTC days between two times, the last 400 of them, with the ms of each."""
    start = max(start, (end // DAY - 400) * DAY)
    while start < end:
        day = start // DAY
        until = min(end, (day + 1) * DAY)
        yield day, until - start
        start = until


def parse_incident(incident_id: str, record: str) -> Incident | None:
    """The incident of one record `opened|closed|status|reason|died|last`; None for what is no record.

    The last two parts are there once its monitor went from error to dead or back.
    """
    opened, closed, status, reason, died, last = (*record.split("|"), *[""] * 6)[:6]
    if not opened.isdigit():
        return None
    return Incident(
        incident_id,
        int(opened),
        int(closed) if closed.isdigit() else None,
        status,
        reason,
        int(died) if died.isdigit() else None,
        last or status,
    )


def with_current(days: Days, status: Status, since: int, now: int) -> Days:
    """The days with the time that the present status has lasted, which the rollup gets when it ends."""
    whole = {day: dict(spent) for day, spent in days.items()}
    for day, lasted in _spread(since, now) if status != "new" else ():
        spent = whole.setdefault(day, {})
        spent[status] = spent.get(status, 0) + lasted
    return whole


def up_and_down(days: Days, incidents: Sequence[Incident], start: int, now: int) -> tuple[int, int]:
    """The ms up and down between `start` and `now`."""
    first = start // DAY
    up = down = 0
    for day, spent in days.items():
        good = spent.get("alive", 0) + spent.get("warning", 0)
        bad = spent.get("error", 0) + spent.get("dead", 0)
        if day > first:
            up, down = up + good, down + bad
        elif day == first:
            rest = min(now, (first + 1) * DAY) - start
            within = min(bad, sum(_overlap(incident, start, start + rest, now) for incident in incidents))
            up, down = up + min(good, rest - within), down + within
    return up, down


def _overlap(incident: Incident, start: int, end: int, now: int) -> int:
    closed = now if incident.closed is None else incident.closed
    return max(0, min(closed, end) - max(incident.opened, start))


def percent(up: int, down: int) -> float | None:
    """The uptime with three decimals, rounded down so that 100 means never down; None when nothing counted."""
    return floor(up * 100_000 / (up + down)) / 1000 if up + down else None


def date_of(day: int) -> str:
    """The date of a day number."""
    return datetime.fromtimestamp(day * DAY / 1000, UTC).date().isoformat()

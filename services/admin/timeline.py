"""What happened around one incident, in order: heartbeats, transitions, messages and their attempts, the recovery."""

from typing import Literal

from pydantic import BaseModel

from services.admin import past
from services.admin.past import Heartbeat
from services.admin.shapes import Time
from services.admin.uptime import Incident
from shared.connection import Store
from shared.events import iso
from shared.model import Monitor

BEFORE = 5
"""Heartbeats before the incident that are shown."""


class Entry(BaseModel):
    """One thing that happened; fields that its kind has no use for are null."""

    at: Time
    kind: Literal["heartbeat", "transition", "delivery", "attempt", "recovery"]
    status: str | None = None
    reason: str | None = None
    message: str | None = None
    target: str | None = None
    delivery_id: int | None = None
    attempt: int | None = None
    response_status: int | None = None
    error: str | None = None


async def timeline(store: Store, incident: Incident, monitor: Monitor) -> list[Entry]:
    """Everything about an incident, oldest first."""
    beats = await past.heartbeats(store, monitor.id)
    return [entry for _, _, entry in sorted(_facts(incident, monitor, beats), key=lambda fact: fact[:2])]


def _facts(incident: Incident, monitor: Monitor, beats: list[Heartbeat]) -> list[tuple[int, int, Entry]]:
    """The entries with their ms, and a rank that puts a heartbeat before the transition that it caused."""
    facts = [(beat.at, 0, _heartbeat(beat)) for beat in _around(incident, beats)]
    opening = Entry(
        at=iso(incident.opened) or "", kind="transition", status=incident.status, reason=incident.reason
    )
    facts.append((incident.opened, 1, opening))
    if incident.closed is None and monitor.since > incident.opened and monitor.status != incident.status:
        later = Entry(at=iso(monitor.since) or "", kind="transition", status=monitor.status)
        facts.append((monitor.since, 1, later))
    if incident.closed is not None:
        facts.append((incident.closed, 3, Entry(at=iso(incident.closed) or "", kind="recovery")))
    return facts


def _around(incident: Incident, beats: list[Heartbeat]) -> list[Heartbeat]:
    """The last heartbeats before an incident, and all that came while it was open; `beats` are newest first."""
    before = [beat for beat in beats if beat.at < incident.opened][:BEFORE]
    during = [
        beat
        for beat in beats
        if beat.at >= incident.opened and (incident.closed is None or beat.at <= incident.closed)
    ]
    return during + before


def _heartbeat(beat: Heartbeat) -> Entry:
    return Entry(
        at=iso(beat.at) or "", kind="heartbeat", status=beat.status or beat.kind, message=beat.message or None
    )

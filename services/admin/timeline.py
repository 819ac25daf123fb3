"""What happened around one incident, in order: heartbeats, transitions, messages and their attempts, the recovery."""

from typing import Any, Literal

from pydantic import BaseModel

from services.admin import past
from services.admin.past import Heartbeat
from services.admin.shapes import Time
from services.admin.uptime import Incident
from shared import channels_store, delivery_history
from shared.connection import Store
from shared.deliveries import Attempt, Delivery
from shared.events import iso
from shared.model import Monitor

BEFORE = 5
"""Heartbeats before the incident that are shown."""


class Entry(BaseModel):
    """One thing that happened; fields that its kind has no use for are null.

    A delivery is a message or webhook that was asked for, with its present `status`; an attempt is a try of it, with
    `status` success or failed.
    """

    at: Time
    kind: Literal["heartbeat", "transition", "delivery", "attempt", "recovery"]
    status: str | None = None
    reason: str | None = None
    message: str | None = None
    event_type: str | None = None
    target: str | None = None
    target_name: str | None = None
    delivery_id: int | None = None
    attempt: int | None = None
    response_status: int | None = None
    error: str | None = None


Fact = tuple[int, int, Entry]
"""An entry with its ms, and a rank that puts what caused something before it within the same ms."""


async def timeline(store: Store, incident: Incident, monitor: Monitor) -> list[Entry]:
    """Everything about an incident, oldest first."""
    beats = await past.heartbeats(store, monitor.id)
    facts = _facts(incident, monitor, beats)
    told = await delivery_history.of_incident(store, incident.id)
    if told:
        names = {one.target: one.name for one in (await channels_store.load(store)).values()}
        for delivery in told:
            facts += _deliveries(delivery, names.get(delivery.target))
    return [entry for _, _, entry in sorted(facts, key=lambda fact: fact[:2])]


def _facts(incident: Incident, monitor: Monitor, beats: list[Heartbeat]) -> list[Fact]:
    """What happened to the monitor itself."""
    facts = [(beat.at, 0, _heartbeat(beat)) for beat in _around(incident, beats)]
    opening = Entry(
        at=iso(incident.opened) or "", kind="transition", status=incident.status, reason=incident.reason
    )
    facts.append((incident.opened, 1, opening))
    shown = incident.status
    if incident.died is not None:
        shown = "dead"
        death = Entry(at=iso(incident.died) or "", kind="transition", status="dead")
        facts.append((incident.died, 1, death))
    if incident.closed is None and monitor.status != shown:
        later = Entry(at=iso(monitor.since) or "", kind="transition", status=monitor.status)
        facts.append((monitor.since, 1, later))
    if incident.closed is not None:
        facts.append((incident.closed, 1, Entry(at=iso(incident.closed) or "", kind="recovery")))
    return facts


def _deliveries(delivery: Delivery, name: str | None) -> list[Fact]:
    """A message or webhook, and each attempt of it."""
    about: dict[str, Any] = {
        "event_type": delivery.type,
        "target": delivery.target,
        "target_name": name,
        "delivery_id": delivery.id,
    }
    asked = Entry(at=iso(delivery.created) or "", kind="delivery", status=delivery.shown, **about)
    tries: list[Fact] = [
        (attempt.at, 3, _attempt(attempt, attempt.number == delivery.attempt, delivery, about))
        for attempt in delivery.attempts
    ]
    return [(delivery.created, 2, asked), *tries]


def _attempt(attempt: Attempt, last: bool, delivery: Delivery, about: dict[str, Any]) -> Entry:
    return Entry(
        at=iso(attempt.at) or "",
        kind="attempt",
        status="success" if last and delivery.status == "success" else "failed",
        attempt=attempt.number,
        response_status=attempt.status,
        error=attempt.error or None,
        **about,
    )


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

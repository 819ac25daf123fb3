"""A delivery out of attempts is an event of its own, so that another channel or webhook can tell of it."""

import json

from shared import events
from shared.channels import TEST_EVENT
from shared.connection import Store
from shared.events import NewEvent
from shared.pump import Report

TYPE = "delivery.dead_letter"


async def emit_dead_letters(store: Store, report: Report) -> None:
    """Emits `delivery.dead_letter` for each delivery of a report that is out of attempts.

    One whose own event is a dead letter emits none: two broken channels would tell each other for ever. The event is
    about the target, so it never goes to it. A failed test emits none either: its answer says so.
    """
    dead = [
        NewEvent(
            TYPE,
            events.canonical(
                {
                    "target": delivery.target,
                    "delivery_id": delivery.id,
                    "event_id": delivery.event,
                    "event_type": delivery.type,
                    "attempts": delivery.attempt + 1,
                    "error": report.outcome.error or f"status {report.outcome.status}",
                    "monitor": _name(delivery.meta),
                }
            ),
            f"{events.OWN_IDS}dead.{delivery.target}.{delivery.number}",
            about=delivery.target,
        )
        for delivery, decision in zip(report.deliveries, report.decisions, strict=True)
        if decision.state == "dead" and delivery.type not in (TYPE, TEST_EVENT)
    ]
    if dead:
        await events.emit(store, dead)


def _name(meta: str) -> str | None:
    """The monitor's name where the delivery kept one."""
    if not meta:
        return None
    name: str | None = json.loads(meta).get("name") or None
    return name

"""What `/ws` says, as text; payloads are spliced in as they are, so that integers of any size survive. Pure."""

import json

from services.webhooks.cursor import Vector, encode
from shared.events import Event

PONG = '{"type": "pong"}'
PING = "ping"


def connected(position: Vector) -> str:
    """The first message; `cursor` is where the client stands, to resume from if nothing else comes."""
    return json.dumps(
        {
            "type": "connection",
            "status": "connected",
            "message": "Connected to MishPulse: events follow as they happen.",
            "cursor": encode(position),
        }
    )


def gap(asked: Vector, kept: Vector) -> str:
    """Says that the events between two positions are not kept any more; what follows begins at `cursor`."""
    return json.dumps(
        {
            "type": "gap",
            "message": "Events were dropped before you came back for them: some are missing here.",
            "after": encode(asked),
            "cursor": encode(kept),
        }
    )


def event_text(event: Event, position: Vector) -> str:
    """One event; `position` is the one after it."""
    return (
        f'{{"type": {json.dumps(event.type)}, "payload": {event.payload}, '
        f'"timestamp": {json.dumps(event.timestamp)}, "id": {json.dumps(event.id)}, '
        f'"cursor": {json.dumps(encode(position))}}}'
    )


def is_ping(text: str | None) -> bool:
    """Whether a client's message is `{"type": "ping"}`; whatever else it says is not understood."""
    if text is None or PING not in text:
        return False
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(said, dict) and said.get("type") == PING

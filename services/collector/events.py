"""Application events: `POST /events`, and `/api/ingest`, its older name."""

import asyncio
import re
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Request
from pydantic import BaseModel

from services.collector import bodies, strict
from services.collector.strict import InvalidError
from shared import auth, events, metrics, web
from shared.events import NewEvent

BODY_LIMIT = 8 * 1024 * 1024
"""A list of 1,000 may hold 8 KiB each on average; more than that would keep other clients of Redis waiting."""
OFF_LOOP = 64 * 1024
"""A body above this is parsed in a thread, so that heartbeats go on meanwhile."""
MAX_EVENTS = 1000
MAX_PAYLOAD = 64 * 1024
MAX_TYPE = 50
AT_ONCE = 100
BYTES_AT_ONCE = 256 * 1024
"""Events and bytes of payload appended in one script call: some 2 ms of Redis' time either way."""

TYPE = re.compile(r"[a-z0-9_]+(?:\.[a-z0-9_]+)+")
ID = re.compile(r"[!-~]{1,128}")
"""Travels as the header `webhook-id`, so it is visible ASCII."""

INGESTED = {result: metrics.INGESTED.labels(result) for result in ("accepted", "duplicate")}
REFUSED = {reason: metrics.REFUSED.labels(reason) for reason in ("invalid", "signature")}


class Accepted(BaseModel):
    """The ids under which the events are known from now on, in the order they came."""

    result: str = "ok"
    ids: list[str]


def new_event(item: Any) -> NewEvent:
    """The event that a client describes; InvalidError with a sentence when it does not."""
    if isinstance(item, strict.Flaw):
        raise InvalidError(f"the event {item.detail}")
    if not isinstance(item, dict):
        raise InvalidError('an event is an object such as {"type": "payment.completed", "payload": {}}')
    payload = item.get("payload")
    if not isinstance(payload, dict | strict.Flaw):
        raise InvalidError("payload must be a JSON object")
    event_type = check_type(item.get("type"))
    event_id = check_id(item.get("id"))
    at = item.get("timestamp")
    text = strict.encode(payload, "payload")
    if len(text) > MAX_PAYLOAD:
        raise InvalidError(
            f"payload has {len(text):,} bytes as canonical JSON; at most {MAX_PAYLOAD:,} are taken"
        )
    return NewEvent(event_type, text, event_id, None if at is None else strict.timestamp_ms(at))


def check_type(value: Any) -> str:
    """An event type that applications may send."""
    if not isinstance(value, str) or not TYPE.fullmatch(value):
        raise InvalidError("type must be words of a-z, 0-9 and _ joined by dots, such as payment.completed")
    if len(value) > MAX_TYPE:
        raise InvalidError(f"type has {len(value)} characters; at most {MAX_TYPE} are taken")
    if value.startswith(events.OWN_PREFIXES):
        raise InvalidError(f"types that begin with {', '.join(events.OWN_PREFIXES)} are MishPulse's own")
    return value


def check_id(value: Any) -> str:
    """An idempotency key, or a new id for an event without one."""
    if value is None:
        return events.new_id()
    if not isinstance(value, str) or not ID.fullmatch(value):
        raise InvalidError("id must be 1 to 128 visible ASCII characters")
    if value.startswith(events.OWN_IDS):
        raise InvalidError(f"ids that begin with {events.OWN_IDS} are MishPulse's own")
    return value


def new_events(body: bytes) -> list[NewEvent]:
    """Every event of a body, one or a list; InvalidError names the first bad item, and then none is taken."""
    document = strict.parse(body)
    if not isinstance(document, list):
        return [new_event(document)]
    if not 1 <= len(document) <= MAX_EVENTS:
        raise InvalidError(f"the list has {len(document):,} events; send 1 to {MAX_EVENTS:,} at once")
    found = []
    for index, item in enumerate(document):
        try:
            found.append(new_event(item))
        except InvalidError as error:
            raise InvalidError(f"event {index} of the list, counted from 0: {error}") from None
    return found


def portions(items: Sequence[NewEvent]) -> Iterator[Sequence[NewEvent]]:
    """`items` in order, cut so that no script call holds Redis up."""
    start = size = 0
    for index, item in enumerate(items):
        size += len(item.payload)
        if index > start and (index - start == AT_ONCE or size > BYTES_AT_ONCE):
            yield items[start:index]
            start, size = index, len(item.payload)
    yield items[start:]


async def _may_ingest(request: Request) -> bytes:
    """The body of a request that may send events: by its token, or by its signature under `PULSE_API_KEY`.

    A token is checked before the body is read; 401 and 403 as everywhere.
    """
    settings = web.settings_of(request)
    given = bodies.signatures(request, settings.signature_headers)
    kind, _, text = request.headers.get("authorization", "").partition(" ")
    token = text.strip() if kind.lower() == "bearer" else request.headers.get("x-api-key", "")
    if token:
        found = await auth.authenticate(web.store_of(request), token, settings.admin_token)
        if found and found.allows("ingest"):
            return await bodies.read(request, BODY_LIMIT)
        if not given:
            raise (
                _refused(403, "this token lacks the scope ingest")
                if found
                else _refused(401, "this token is not known here")
            )
    if not given:
        raise _refused(
            401, "send a token with the scope ingest: Authorization: Bearer <token>, or sign the body"
        )
    if not settings.api_key:
        raise _refused(401, "signed events need PULSE_API_KEY to be set here; send a token instead")
    body = await bodies.read(request, BODY_LIMIT)
    if not bodies.signed(body, given, settings.api_key):
        raise _refused(401, "the signature is not that of this body under PULSE_API_KEY")
    return body


def _refused(status: int, detail: str) -> HTTPException:
    REFUSED["signature"].inc()
    return HTTPException(status, detail, headers={"WWW-Authenticate": "Bearer"} if status == 401 else None)


async def ingest(store: web.StoreDep, body: Annotated[bytes, Depends(_may_ingest)]) -> Accepted:
    """Takes one event or a list of up to 1,000: all of them, or none when one is not valid.

    An `id` is accepted once a day; a repetition is answered alike and changes nothing. Bodies up to 8 MiB; a payload
    is an object of at most 64 KiB as canonical JSON.
    """
    try:
        if len(body) > OFF_LOOP:
            items = await asyncio.to_thread(new_events, body)
        else:
            items = new_events(body)
    except InvalidError as error:
        REFUSED["invalid"].inc()
        raise HTTPException(422, str(error)) from None
    for part in portions(items):
        accepted = await events.emit(store, part)
        INGESTED["accepted"].inc(accepted)
        INGESTED["duplicate"].inc(len(part) - accepted)
    return Accepted(ids=[item.id for item in items])


_EVENT = {
    "type": "object",
    "required": ["type", "payload"],
    "properties": {
        "type": {"type": "string", "pattern": f"^{TYPE.pattern}$", "maxLength": MAX_TYPE},
        "payload": {"type": "object"},
        "id": {"type": ["string", "null"], "pattern": f"^{ID.pattern}$"},
        "timestamp": {"type": ["string", "number", "null"]},
    },
}
_BODY = {
    "required": True,
    "content": {
        "application/json": {
            "schema": {
                "oneOf": [_EVENT, {"type": "array", "items": _EVENT, "minItems": 1, "maxItems": MAX_EVENTS}]
            }
        }
    },
}


def routes() -> APIRouter:
    """`POST /events` and `POST /api/ingest`."""
    router = APIRouter(tags=["events"])
    for path, name in (("/events", "send_events"), ("/api/ingest", "send_events_older_name")):
        router.add_api_route(
            path,
            ingest,
            methods=["POST"],
            status_code=202,
            operation_id=name,
            responses=web.errors(400, 401, 403, 413, 422, 503),
            openapi_extra={"requestBody": _BODY, "security": [{"HTTPBearer": []}, {"Signature": []}]},
        )
    return router

"""`GET /webhooks/{id}/events`: a receiver that was down pulls what it missed, by cursor."""

import heapq
import json
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Query, Response
from pydantic import BaseModel

from services.webhooks import cursor, event_log, subscriptions
from services.webhooks.cursor import START, Vector
from services.webhooks.shapes import Limit, Time, WebhookId
from services.webhooks.subscription import Webhook
from shared.connection import Store
from shared.events import Event, iso
from shared.web import ErrorBody, StoreDep, errors, requires

router = APIRouter(prefix="/webhooks", tags=["events"])


class EventOut(BaseModel):
    """One event; `cursor` is the position after it."""

    id: str
    cursor: str
    type: str
    payload: Any
    timestamp: Time


class EventsOut(BaseModel):
    """Events in the order of the log; ask again with `after` = `next`, also when there were none."""

    items: list[EventOut]
    next: str


class GoneOut(ErrorBody):
    """The cursor is older than the log: `first` is where it begins."""

    first: str


GONE: dict[int | str, dict[str, Any]] = {
    410: {"model": GoneOut, "description": "The cursor is older than what is kept"}
}


@router.get(
    "/{webhook_id}/events",
    dependencies=[Depends(requires("read"))],
    response_model=EventsOut,
    responses={**errors(401, 403, 404, 422, 503), **GONE},
)
async def pull_events(
    webhook_id: WebhookId,
    store: StoreDep,
    after: Annotated[str, Query(max_length=10_000, description="the cursor after which to go on")] = "",
    limit: Limit = 50,
) -> Response:
    """The events of a webhook's type after a cursor, from the oldest kept without one. Each shard's are in order."""
    webhook = await subscriptions.get(store, webhook_id)
    try:
        position = cursor.decode(after, store.shards) if after else (START,) * store.shards
    except ValueError as error:
        raise HTTPException(422, f"after: {error}; take it from `cursor` or `next`") from None
    kept = await event_log.first_kept(store, position)
    if kept is not None and after:
        return _gone(kept)
    events, following = await _collect(store, webhook, kept or position, limit)
    if after and await event_log.first_kept(store, position) is not None:
        # The log was trimmed while it was read: there may be a hole in what was found.
        return _gone(await event_log.first_kept(store, position) or position)
    items = ", ".join(_item(event, place) for event, place in events)
    text = f'{{"items": [{items}], "next": {json.dumps(cursor.encode(following))}}}'
    return Response(text, media_type="application/json")


def _gone(kept: Vector) -> Response:
    first = cursor.encode(kept)
    at = iso(max(ms for ms, _ in kept))
    detail = f"the events after this cursor are kept from {at} only: go on with after={first}"
    return Response(json.dumps({"detail": detail, "first": first}), 410, media_type="application/json")


def _item(event: Event, place: str) -> str:
    """One event as JSON, its payload the very text that receivers get."""
    return (
        f'{{"id": {json.dumps(event.id)}, "cursor": {json.dumps(place)}, "type": {json.dumps(event.type)}, '
        f'"payload": {event.payload}, "timestamp": {json.dumps(event.timestamp)}}}'
    )


async def _collect(
    store: Store, webhook: Webhook, position: Vector, limit: int
) -> tuple[list[tuple[Event, str]], Vector]:
    """At most `limit` matching events with their cursors, and the position after all that was looked at.

    Merges the shards by stream id, reading each only as far as it is needed.
    """
    heads: list[tuple[cursor.Position, int, Event]] = []
    waiting: list[list[Event]] = [[] for _ in range(store.shards)]
    scanned = list(position)

    async def refill(shard: int) -> None:
        while not waiting[shard]:
            events, following = await event_log.read(store, shard, scanned[shard])
            if following == scanned[shard]:
                return
            scanned[shard] = following
            waiting[shard] = [event for event in reversed(events) if webhook.wants(event)]
        event = waiting[shard].pop()
        heapq.heappush(heads, (cursor.parse_id(event.cursor), shard, event))

    for shard in range(store.shards):
        await refill(shard)
    found: list[tuple[Event, str]] = []
    while heads and len(found) < limit:
        place, shard, event = heapq.heappop(heads)
        position = cursor.moved(position, shard, place)
        found.append((event, cursor.encode(position)))
        await refill(shard)
    # Past entries of other types: a shard with nothing waiting was read to the end.
    unread = {shard for _, shard, _ in heads}
    following = tuple(
        position[shard] if shard in unread else max(position[shard], scanned[shard])
        for shard in range(store.shards)
    )
    return found, following

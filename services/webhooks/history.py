"""`/webhooks/{id}/deliveries`: what was sent, what came back, and sending it once more."""

import asyncio
import json
from typing import Annotated, Any, Literal

from arq.connections import ArqRedis
from fastapi import APIRouter, Depends, HTTPException, Query, Request, Response
from pydantic import BaseModel, Field

from services.webhooks import recovery, subscriptions, trial
from services.webhooks.shapes import (
    Asked,
    DeliveryId,
    Limit,
    Listing,
    Offset,
    Time,
    Unset,
    WebhookId,
    plain,
)
from services.webhooks.timestamps import parse_time
from shared import deliveries, delivery_history, queue
from shared.connection import Store
from shared.deliveries import Attempt, Delivery, number_of
from shared.errors import Conflict, NotFound
from shared.events import iso
from shared.web import StoreDep, errors, requires

router = APIRouter(prefix="/webhooks", tags=["deliveries"])
READ = [Depends(requires("read"))]
CHANGE = [Depends(requires("admin"))]


async def _hints(request: Request) -> ArqRedis:
    pool: ArqRedis = request.app.state.hints
    return pool


Hints = Annotated[ArqRedis, Depends(_hints)]
Shown = Literal["pending", "success", "failed"]


class DeliveryOut(BaseModel):
    """One delivery. `attempt_number` is that of the last attempt, 1 before the first has ended."""

    id: int
    webhook_id: int
    event_id: str
    event_type: str
    payload: Any
    response_status: int | None
    response_body: str | None
    status: Shown
    error_message: str | None
    attempt_number: int
    created_at: Time
    delivered_at: Time | None
    next_retry_at: Time | None
    redelivery_of: int | None
    redelivered_as: int | None


class AttemptOut(BaseModel):
    """One try: when it ended, how long it took, and the beginning of the answer."""

    number: int
    at: Time
    duration_ms: int
    response_status: int | None
    response_body: str | None
    error_message: str | None


class DetailOut(DeliveryOut):
    """One delivery with its attempts, oldest first."""

    attempts: list[AttemptOut]


class RecoverIn(Asked):
    """`since` is a time in ISO 8601, or Unix seconds."""

    since: Annotated[str | int | float, Field(description="ISO 8601, or Unix seconds")]


class RecoveredOut(BaseModel):
    """What `recover` did. `reaches_back_to` is set when the event log begins later than was asked for."""

    redelivered: int = Field(description="dead letters that are delivered once more")
    missed: int = Field(description="events that had no delivery, because the webhook was off or not there")
    hurried: int = Field(description="pending deliveries whose next attempt is due now")
    total: int
    reaches_back_to: Time | None


def target_of(webhook_id: int) -> str:
    """A webhook's name in the delivery ledger."""
    return f"webhook:{webhook_id}"


def shown(store: Store, webhook_id: int, delivery: Delivery) -> dict[str, Any]:
    """A delivery as clients see it."""

    def public(number: int | None) -> int | None:
        return None if number is None else deliveries.public_id(store, delivery.target, number)

    waits = delivery.shown == "pending" and delivery.attempt > 0
    return {
        "id": delivery.id,
        "webhook_id": webhook_id,
        "event_id": delivery.event,
        "event_type": delivery.type,
        "payload": json.loads(delivery.payload or "null"),
        "response_status": delivery.response_status,
        "response_body": delivery.response_body or None,
        "status": delivery.shown,
        "error_message": delivery.error or None,
        "attempt_number": max(1, delivery.attempt),
        "created_at": iso(delivery.created),
        "delivered_at": iso(delivery.finished) if delivery.shown == "success" else None,
        "next_retry_at": iso(delivery.next) if waits else None,
        "redelivery_of": public(delivery.redelivery_of),
        "redelivered_as": public(delivery.redelivered_as),
    }


def attempt_shown(attempt: Attempt) -> dict[str, Any]:
    """An attempt as clients see it."""
    return {
        "number": attempt.number,
        "at": iso(attempt.at),
        "duration_ms": attempt.duration_ms,
        "response_status": attempt.status,
        "response_body": attempt.body or None,
        "error_message": attempt.error or None,
    }


async def find(store: Store, webhook_id: int, delivery_id: int) -> Delivery:
    """A webhook's delivery by its public id; NotFound when it has none of that id."""
    target = target_of(webhook_id)
    if delivery_id != deliveries.public_id(store, target, number_of(store, delivery_id)):
        raise NotFound("there is no such delivery")
    return await delivery_history.get(store, target, number_of(store, delivery_id))


@router.get(
    "/{webhook_id}/deliveries",
    dependencies=READ,
    response_model=Listing[DeliveryOut],
    responses=errors(401, 403, 404, 422, 503),
)
async def list_deliveries(
    webhook_id: WebhookId,
    store: StoreDep,
    status: Annotated[Shown | None, Unset, Query(description="only in this state")] = None,
    limit: Limit = 50,
    offset: Offset = 0,
) -> Response:
    """A webhook's deliveries, newest first. The last 1,000 successes are kept, everything for 30 days."""
    await subscriptions.get(store, webhook_id)
    page = await delivery_history.listing(
        store, target_of(webhook_id), status=status, limit=limit, offset=offset
    )
    items = [shown(store, webhook_id, delivery) for delivery in page.items]
    return plain({"items": items, "total": page.total, "limit": limit, "offset": offset})


@router.get(
    "/{webhook_id}/deliveries/{delivery_id}",
    dependencies=READ,
    response_model=DetailOut,
    responses=errors(401, 403, 404, 422, 503),
)
async def get_delivery(webhook_id: WebhookId, delivery_id: DeliveryId, store: StoreDep) -> Response:
    """One delivery with its attempts."""
    await subscriptions.get(store, webhook_id)
    delivery = await find(store, webhook_id, delivery_id)
    return plain(detail(store, webhook_id, delivery))


def detail(store: Store, webhook_id: int, delivery: Delivery) -> dict[str, Any]:
    """A delivery with its attempts as clients see it."""
    attempts = [attempt_shown(attempt) for attempt in delivery.attempts]
    return {**shown(store, webhook_id, delivery), "attempts": attempts}


@router.post(
    "/{webhook_id}/deliveries/{delivery_id}/redeliver",
    status_code=202,
    dependencies=CHANGE,
    response_model=DeliveryOut,
    responses=errors(401, 403, 404, 409, 422, 503),
)
async def redeliver(
    webhook_id: WebhookId, delivery_id: DeliveryId, store: StoreDep, hints: Hints
) -> Response:
    """Sends a finished delivery once more, as a new one with the same event id."""
    await subscriptions.get(store, webhook_id)
    old = await find(store, webhook_id, delivery_id)
    made = await deliveries.redeliver(store, [old])
    if not made:  # deleted this very moment
        raise NotFound(f"there is no webhook {webhook_id}")
    await queue.hint(hints, [old.target])
    return plain(shown(store, webhook_id, await find(store, webhook_id, made[0])), 202)


@router.post(
    "/{webhook_id}/test",
    dependencies=CHANGE,
    response_model=DetailOut,
    responses=errors(401, 403, 404, 409, 422, 503),
)
async def test_webhook(webhook_id: WebhookId, store: StoreDep, hints: Hints) -> Response:
    """Sends a `webhook.test` event, one attempt, and answers what came of it; `pending` when no worker was there
    to send it within a few seconds.
    """
    webhook = await subscriptions.get(store, webhook_id)
    if not webhook.is_active:
        raise Conflict("this webhook is off: switch it on to test it")
    number = await trial.create(store, webhook)
    await queue.hint(hints, [webhook.target])
    return plain(detail(store, webhook_id, await trial.outcome(store, webhook, number)))


@router.post(
    "/{webhook_id}/recover",
    dependencies=CHANGE,
    responses=errors(400, 401, 403, 404, 413, 422, 503),
)
async def recover(webhook_id: WebhookId, body: RecoverIn, store: StoreDep, hints: Hints) -> RecoveredOut:
    """Delivers all that failed or was missed since a time, oldest first. It bears being asked twice."""
    try:
        since = parse_time(body.since)
    except ValueError as error:
        raise HTTPException(422, f"since: {error}") from None
    webhook = await subscriptions.get(store, webhook_id)
    done = await asyncio.shield(recovery.recover(store, webhook, since))
    await queue.hint(hints, [webhook.target])
    return RecoveredOut(
        redelivered=done.redelivered,
        missed=done.missed,
        hurried=done.hurried,
        total=done.redelivered + done.missed + done.hurried,
        reaches_back_to=iso(done.reaches_back_to),
    )

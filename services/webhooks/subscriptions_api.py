"""`/webhooks`: making, reading, changing and removing webhooks."""

import base64
import secrets
from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Query, Request, Response
from pydantic import BaseModel, Field

from services.webhooks import subscriptions
from services.webhooks.event_types import EVENT_TYPES, EventTypeOut
from services.webhooks.shapes import (
    Asked,
    Limit,
    Listing,
    Offset,
    Secret,
    Time,
    Unset,
    WebhookChange,
    WebhookId,
    WebhookIn,
    WebhookOut,
    shown,
)
from services.webhooks.subscription import NOW, OVERLAP_MS, Webhook, sealed, switched
from services.webhooks.subscriptions import Webhooks
from shared import delivery_history, signing
from shared.connection import Store
from shared.events import iso
from shared.secrets import SecretBox
from shared.web import StoreDep, errors, requires

router = APIRouter(prefix="/webhooks", tags=["webhooks"])
READ = [Depends(requires("read"))]
CHANGE = [Depends(requires("admin"))]
SECRET_BYTES = 32


async def _webhooks(request: Request) -> Webhooks:
    known: Webhooks = request.app.state.webhooks
    return known


async def _box(request: Request) -> SecretBox:
    box: SecretBox = request.app.state.box
    return box


Known = Annotated[Webhooks, Depends(_webhooks)]
Box = Annotated[SecretBox, Depends(_box)]


class StatsOut(BaseModel):
    """Counts over all webhooks; deliveries by their final state, the rate in percent of the finished ones."""

    total_webhooks: int
    active_webhooks: int
    total_deliveries: int
    successful_deliveries: int
    failed_deliveries: int
    success_rate: float


class RotateIn(Asked):
    """The new secret; without one a secret is made."""

    secret: Secret | None = None


class RotatedOut(WebhookOut):
    """The webhook; `secret` only when it was made here, and only this once."""

    secret: str | None
    previous_secret_signs_until: Time | None


async def _answer(store: Store, webhook: Webhook) -> WebhookOut:
    (stats,) = await delivery_history.stats(store, [webhook.target])
    return shown(webhook, stats)


@router.post("", status_code=201, dependencies=CHANGE, responses=errors(400, 401, 403, 413, 422, 503))
async def create_webhook(body: WebhookIn, store: StoreDep, box: Box) -> WebhookOut:
    """Makes a webhook: from now on every event of its type is posted to its URL."""

    def make(webhook_id: int) -> Webhook:
        webhook = Webhook(
            webhook_id,
            body.name,
            body.url,
            body.event_type,
            description=body.description,
            secret=sealed(webhook_id, body.secret or "", box),
        )
        return webhook if body.is_active else replace(webhook, is_active=False, spans=())

    return await _answer(store, await subscriptions.add(store, make))


@router.get("", dependencies=READ, responses=errors(401, 403, 422, 503))
async def list_webhooks(
    store: StoreDep,
    known: Known,
    event_type: Annotated[str | None, Query(max_length=50, description="only of this very type")] = None,
    is_active: Annotated[bool | None, Unset, Query(description="only those that are on, or off")] = None,
    limit: Limit = 50,
    offset: Offset = 0,
) -> Listing[WebhookOut]:
    """Webhooks, newest first."""
    found = [
        webhook
        for webhook in reversed(list((await known.current()).values()))
        if event_type in (None, "", webhook.event_type) and is_active in (None, webhook.is_active)
    ]
    page = found[offset : offset + limit]
    stats = await delivery_history.stats(store, [webhook.target for webhook in page]) if page else []
    items = [shown(*pair) for pair in zip(page, stats, strict=True)]
    return Listing(items=items, total=len(found), limit=limit, offset=offset)


@router.get("/stats", dependencies=READ, responses=errors(401, 403, 503))
async def read_stats(store: StoreDep, known: Known) -> StatsOut:
    """How many webhooks there are and what became of their deliveries."""
    webhooks = (await known.current()).values()
    stats = await delivery_history.stats(store, [webhook.target for webhook in webhooks]) if webhooks else []
    succeeded = sum(one.success_count for one in stats)
    failed = sum(one.failure_count for one in stats)
    finished = succeeded + failed
    return StatsOut(
        total_webhooks=len(webhooks),
        active_webhooks=sum(1 for webhook in webhooks if webhook.is_active),
        total_deliveries=finished + sum(one.pending for one in stats),
        successful_deliveries=succeeded,
        failed_deliveries=failed,
        success_rate=round(100 * succeeded / finished, 2) if finished else 0.0,
    )


@router.get("/event-types", dependencies=READ, responses=errors(401, 403, 503))
async def list_event_types() -> list[EventTypeOut]:
    """Types to subscribe to; an application may send others, which match just as well."""
    return EVENT_TYPES


@router.get("/{webhook_id}", dependencies=READ, responses=errors(401, 403, 404, 422, 503))
async def get_webhook(webhook_id: WebhookId, store: StoreDep) -> WebhookOut:
    """One webhook."""
    return await _answer(store, await subscriptions.get(store, webhook_id))


@router.patch("/{webhook_id}", dependencies=CHANGE, responses=errors(400, 401, 403, 404, 413, 422, 503))
async def change_webhook(webhook_id: WebhookId, body: WebhookChange, store: StoreDep, box: Box) -> WebhookOut:
    """Changes what is sent; absent fields stay. The event type cannot change: make another webhook for that."""
    given = body.model_fields_set

    def edit(webhook: Webhook) -> Webhook:
        if body.event_type not in (None, webhook.event_type):
            raise HTTPException(
                422, f"event_type: it is {webhook.event_type} for good; make another webhook for another type"
            )
        changes: dict[str, Any] = {
            name: getattr(body, name) for name in ("name", "url", "description") if name in given
        }
        if body.secret is None:
            changes |= {"secret": "", "old_secret": "", "old_secret_until": 0}
        elif body.secret:
            changes |= {
                "secret": sealed(webhook.id, body.secret, box),
                "old_secret": "",
                "old_secret_until": 0,
            }
        if "is_active" in given:
            webhook = switched(webhook, active=body.is_active)
        return replace(webhook, updated_at=NOW, **changes)

    return await _answer(store, await subscriptions.change(store, webhook_id, edit))


@router.delete(
    "/{webhook_id}", status_code=204, dependencies=CHANGE, responses=errors(401, 403, 404, 422, 503)
)
async def delete_webhook(webhook_id: WebhookId, store: StoreDep) -> Response:
    """Removes a webhook with its deliveries."""
    await subscriptions.remove(store, webhook_id)
    return Response(status_code=204)


@router.post(
    "/{webhook_id}/rotate-secret", dependencies=CHANGE, responses=errors(400, 401, 403, 404, 413, 422, 503)
)
async def rotate_secret(
    webhook_id: WebhookId,
    store: StoreDep,
    box: Box,
    body: Annotated[RotateIn | None, Field(description="may be left out")] = None,
) -> RotatedOut:
    """Gives a new secret; the old one signs as well for 24 hours, so that the receiver can change over."""
    asked = body.secret if body else None
    secret = asked or signing.SECRET_PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()
    seconds, _ = await store.redis.time()
    until = seconds * 1000 + OVERLAP_MS

    def edit(webhook: Webhook) -> Webhook:
        return replace(
            webhook,
            secret=sealed(webhook.id, secret, box),
            old_secret=webhook.secret,
            old_secret_until=until if webhook.secret else 0,
            updated_at=NOW,
        )

    webhook = await subscriptions.change(store, webhook_id, edit)
    answer = await _answer(store, webhook)
    return RotatedOut(
        **answer.model_dump(),
        secret=None if asked else secret,
        previous_secret_signs_until=iso(webhook.old_secret_until or None),
    )

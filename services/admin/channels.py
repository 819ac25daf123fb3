"""`/api/channels`: where people are told, tests of it, and what was delivered."""

from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request, Response

from services.admin.channel_shapes import (
    ChannelIn,
    ChannelOut,
    ChannelPatch,
    DeliveryDetail,
    DeliveryOut,
    attempt_shown,
    checked,
    delivery_shown,
    merged,
    shown,
)
from services.admin.channel_test import Tested, send_test
from services.admin.monitors import invalid
from services.admin.shapes import Limit, Listing, Offset
from shared import channels, channels_store, deliveries, delivery_history, delivery_upkeep
from shared.channels import DEFAULT_EVENTS, Channel
from shared.connection import Store
from shared.deliveries import Delivery, Status
from shared.errors import NotFound
from shared.secrets import SecretBox
from shared.web import StoreDep, errors, requires

router = APIRouter(prefix="/api/channels", tags=["channels"])
READ = Depends(requires("read"))
ADMIN = Depends(requires("admin"))

ChannelId = Annotated[int, Path(ge=1, le=2**53)]
DeliveryId = Annotated[int, Path(ge=1, le=2**53)]


async def box_of(request: Request) -> SecretBox:
    """What seals and opens the app's secrets."""
    box: SecretBox = request.app.state.box
    return box


BoxDep = Annotated[SecretBox, Depends(box_of)]


async def answer(store: Store, channel: Channel, box: SecretBox) -> ChannelOut:
    """A channel as clients see it."""
    (stats,) = await delivery_history.stats(store, [channel.target])
    return shown(channel, stats, box)


@router.post("", status_code=201, dependencies=[ADMIN], responses=errors(401, 403, 413, 422, 503))
async def create_channel(body: ChannelIn, store: StoreDep, box: BoxDep) -> ChannelOut:
    """Creates a channel; its secrets are encrypted and come back masked."""
    try:
        config = checked(body.type, body.config)
    except ValueError as error:
        raise invalid("", str(error)) from None

    def make(channel_id: int, now: int) -> Channel:
        return Channel(
            id=channel_id,
            name=body.name,
            type=body.type,
            config=channels.seal(body.type, config, channel_id, box),
            events=tuple(body.events),
            language=body.language,
            muted=body.muted,
            created_at=now,
            updated_at=now,
        )

    return await answer(store, await channels_store.add(store, make), box)


@router.get("", dependencies=[READ], responses=errors(401, 403, 422, 503))
async def list_channels(
    store: StoreDep, box: BoxDep, limit: Limit = 50, offset: Offset = 0
) -> Listing[ChannelOut]:
    """The channels, oldest first."""
    every = list((await channels_store.load(store)).values())
    page = every[offset : offset + limit]
    stats = await delivery_history.stats(store, [channel.target for channel in page])
    items = [shown(channel, theirs, box) for channel, theirs in zip(page, stats, strict=True)]
    return Listing(items=items, total=len(every), limit=limit, offset=offset)


@router.get("/{channel_id}", dependencies=[READ], responses=errors(401, 403, 404, 422, 503))
async def get_channel(channel_id: ChannelId, store: StoreDep, box: BoxDep) -> ChannelOut:
    """One channel."""
    return await answer(store, await channels_store.get(store, channel_id), box)


@router.patch("/{channel_id}", dependencies=[ADMIN], responses=errors(401, 403, 404, 413, 422, 503))
async def change_channel(
    channel_id: ChannelId, body: ChannelPatch, store: StoreDep, box: BoxDep
) -> ChannelOut:
    """Changes what is sent; secrets left out, empty or sent as they were shown stay as they are."""

    def change(channel: Channel, now: int) -> Channel:
        return _changed(channel, body, box, now)

    return await answer(store, await channels_store.replace(store, channel_id, change), box)


def _changed(channel: Channel, body: ChannelPatch, box: SecretBox, now: int) -> Channel:
    sent = body.model_fields_set
    if body.type not in (None, channel.type):
        raise invalid("type", f"a channel cannot change its type, this one's is {channel.type}")
    config = channel.config
    if "config" in sent:
        try:
            config = channels.seal(channel.type, merged(channel, body.config, box), channel.id, box)
        except ValueError as error:
            raise invalid("", str(error)) from None
    return replace(
        channel,
        name=body.name if "name" in sent else channel.name,
        config=config,
        events=tuple(body.events or DEFAULT_EVENTS) if "events" in sent else channel.events,
        language=(body.language or "en") if "language" in sent else channel.language,
        muted=bool(body.muted) if "muted" in sent else channel.muted,
        updated_at=now,
    )


@router.delete(
    "/{channel_id}", status_code=204, dependencies=[ADMIN], responses=errors(401, 403, 404, 422, 503)
)
async def delete_channel(channel_id: ChannelId, store: StoreDep) -> Response:
    """Deletes a channel with its deliveries; monitors that named it simply do not tell it any more."""
    channel = await channels_store.get(store, channel_id)
    await delivery_upkeep.delete_target(
        store, channel.target
    )  # first, so that a retry completes what a crash left
    await channels_store.remove(store, channel_id)
    return Response(status_code=204)


@router.post("/{channel_id}/test", dependencies=[ADMIN], responses=errors(401, 403, 404, 422, 503))
async def test_channel(channel_id: ChannelId, store: StoreDep) -> Tested:
    """Sends a test message for real, waits for its result at most 20 s, and tells what happened."""
    return await send_test(store, await channels_store.get(store, channel_id))


@router.get("/{channel_id}/deliveries", dependencies=[READ], responses=errors(401, 403, 404, 422, 503))
async def list_deliveries(
    channel_id: ChannelId,
    store: StoreDep,
    status: Status | None = None,
    limit: Limit = 50,
    offset: Offset = 0,
) -> Listing[DeliveryOut]:
    """A channel's deliveries, newest first."""
    channel = await channels_store.get(store, channel_id)
    page = await delivery_history.listing(store, channel.target, status=status, limit=limit, offset=offset)
    items = [DeliveryOut(**delivery_shown(channel_id, one)) for one in page.items]
    return Listing(items=items, total=page.total, limit=limit, offset=offset)


@router.get(
    "/{channel_id}/deliveries/{delivery_id}", dependencies=[READ], responses=errors(401, 403, 404, 422, 503)
)
async def get_delivery(channel_id: ChannelId, delivery_id: DeliveryId, store: StoreDep) -> DeliveryDetail:
    """One delivery with its attempts."""
    return _detail(channel_id, await _delivery(store, channel_id, delivery_id))


@router.post(
    "/{channel_id}/deliveries/{delivery_id}/redeliver",
    status_code=201,
    dependencies=[ADMIN],
    responses=errors(401, 403, 404, 409, 422, 503),
)
async def redeliver(channel_id: ChannelId, delivery_id: DeliveryId, store: StoreDep) -> DeliveryDetail:
    """Delivers the same event once more, as a new delivery; 409 while the old one is pending."""
    made = await deliveries.redeliver(store, [await _delivery(store, channel_id, delivery_id)])
    if not made:
        raise NotFound(f"there is no channel {channel_id}")
    return _detail(channel_id, await _delivery(store, channel_id, made[0]))


async def _delivery(store: Store, channel_id: int, delivery_id: int) -> Delivery:
    channel = await channels_store.get(store, channel_id)
    number = deliveries.number_of(store, delivery_id)
    if deliveries.public_id(store, channel.target, number) != delivery_id:
        raise NotFound(f"there is no delivery {delivery_id} of channel {channel_id}")
    return await delivery_history.get(store, channel.target, number)


def _detail(channel_id: int, delivery: Delivery) -> DeliveryDetail:
    attempts = [attempt_shown(attempt) for attempt in delivery.attempts]
    return DeliveryDetail(**delivery_shown(channel_id, delivery), attempts=attempts)

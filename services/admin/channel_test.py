"""A channel's test: put into the delivery ledger here, sent by the notifier like any other message.

So it takes the way that a real message takes, from the same process and address, and its result stands among the
channel's deliveries.
"""

import asyncio
import secrets
from typing import Final

from pydantic import BaseModel, Field

from services.admin import past
from shared import deliveries, delivery_history
from shared.channels import TEST_EVENT, Channel
from shared.connection import Store
from shared.deliveries import Delivery, NewDelivery, Status
from shared.errors import Conflict
from shared.events import OWN_IDS, canonical, iso

WAIT_S: Final = 20.0
"""An attempt's 15 s, and time for a busy notifier to come to it."""
POLL_S: Final = 0.1


class Tested(BaseModel):
    """What came of a test: `ok` when the message was accepted; else `error` says why."""

    ok: bool
    status: Status = Field(description="pending: no result within 20 s")
    delivery_id: int
    response_status: int | None
    response_body: str | None
    error: str | None
    duration: float | None = Field(description="of the attempt, in seconds")


async def send_test(store: Store, channel: Channel, wait_s: float = WAIT_S) -> Tested:
    """Asks for the test message and waits until its first attempt is recorded, at most `wait_s`."""
    now = await past.now(store)
    about = {"id": channel.id, "name": channel.name, "type": channel.type}
    item = NewDelivery(
        target=channel.target,
        event=f"{OWN_IDS}test.{secrets.token_hex(8)}",
        type=TEST_EVENT,
        payload=canonical({"at": iso(now), "channel": about}),
        at=now,
        meta=canonical({"name": channel.name}),
    )
    (made,) = await deliveries.create(store, [item])
    if made is None:
        raise Conflict(f"channel {channel.id} is being deleted")
    number = deliveries.number_of(store, made)
    delivery = await _first_result(store, channel.target, number, wait_s)
    return _told(delivery)


async def _first_result(store: Store, target: str, number: int, wait_s: float) -> Delivery:
    loop = asyncio.get_running_loop()
    end = loop.time() + wait_s
    while True:
        delivery = await delivery_history.get(store, target, number)
        if delivery.attempt or delivery.shown != "pending" or loop.time() >= end:
            return delivery
        await asyncio.sleep(POLL_S)


def _told(delivery: Delivery) -> Tested:
    waiting = not delivery.attempt and delivery.shown == "pending"
    silent = "no notifier has sent it yet; is one running? The message stays queued" if waiting else None
    last = delivery.attempts[-1] if delivery.attempts else None
    return Tested(
        ok=delivery.status == "success",
        status=delivery.shown,
        delivery_id=delivery.id,
        response_status=delivery.response_status,
        response_body=delivery.response_body or None,
        error=delivery.error or silent,
        duration=last.duration_ms / 1000 if last else None,
    )

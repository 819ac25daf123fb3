"""A webhook's test: one delivery with one attempt, through the ledger like any other."""

import asyncio
from typing import Final

from services.webhooks.subscription import Webhook
from shared import deliveries, delivery_history, events
from shared.connection import Store
from shared.dead_letters import WEBHOOK_TEST
from shared.deliveries import Delivery, NewDelivery, number_of

TYPE: Final = WEBHOOK_TEST
META: Final = '{"test": true}'
"""Marks the delivery: its attempt is the only one, and it is nobody's dead letter."""
ANSWER_WITHIN: Final = 16.0
"""Seconds: the deadline of a request and a little more."""
NOBODY_AFTER: Final = 3.0
"""Seconds after which an attempt that has not begun is not waited for: no worker runs."""
LOOK_EVERY: Final = 0.05


async def create(store: Store, webhook: Webhook) -> int:
    """Makes the delivery and returns its public id."""
    seconds, micros = await store.redis.time()
    payload = events.canonical(
        {
            "test": True,
            "message": "This is a test from MishPulse.",
            "webhook": {"id": webhook.id, "name": webhook.name, "event_type": webhook.event_type},
        }
    )
    at = seconds * 1000 + micros // 1000
    item = NewDelivery(webhook.target, events.new_id(), TYPE, payload, at, meta=META, fresh=True)
    (number,) = await deliveries.create(store, [item])
    assert (
        number is not None
    )  # it is fresh, so only a deleted target refuses it, and then the next read says so
    return number


async def outcome(store: Store, webhook: Webhook, delivery_id: int) -> Delivery:
    """The delivery as it ended, or as it stands when that takes too long."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    while True:
        found = await delivery_history.get(store, webhook.target, number_of(store, delivery_id))
        waited = loop.time() - began
        nobody = found.status == "pending" and waited > NOBODY_AFTER
        if found.shown != "pending" or nobody or waited > ANSWER_WITHIN:
            return found
        await asyncio.sleep(LOOK_EVERY)

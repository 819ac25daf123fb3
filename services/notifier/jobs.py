"""What the notifier does with a claimed delivery: opens the channel's config and sends the letter."""

import asyncio
import json
from collections.abc import Sequence

import structlog

from services.notifier import channels
from services.notifier.channels import Letter, Outlets
from services.notifier.digest import Member, compose_digest
from services.notifier.message import test_note
from services.notifier.note import Note
from services.notifier.self_ping import SelfPing
from shared import synthetic
from shared.channels import TEST_EVENT, Channel, config_of
from shared.channels_store import Channels
from shared.connection import Store
from shared.deliveries import Delivery
from shared.errors import ConfigError, DeliveryError
from shared.retry import Outcome
from shared.secrets import SecretBox

log = structlog.get_logger(__name__)

WRITTEN_HERE = 1_000
"""Members of the largest digest that is written in the event loop, in 7 ms."""
LABELS = {"webhook": "channel_webhook"}
"""How a channel's type is called in metrics, where it differs: webhooks have their own kind there."""


class Postman:
    """Sends letters: one for a delivery, or one digest for all its members."""

    def __init__(self, store: Store, box: SecretBox, outlets: Outlets, self_ping: SelfPing) -> None:
        self._self_ping = self_ping
        self._channels = Channels(store)
        self._box = box
        self._outlets = outlets

    async def send(self, deliveries: Sequence[Delivery]) -> Outcome:
        """One attempt. Raises DeliveryError; permanent when the channel is gone, for no retry brings it back."""
        if deliveries[0].target == synthetic.TARGET:
            return await self._self_ping.arrived(deliveries)
        channel = (await self._channels.current()).get(number_of(deliveries[0].target))
        if channel is None:
            raise DeliveryError("The channel was deleted.", permanent=True, label="config")
        try:
            config = config_of(channel, self._box)
        except ConfigError as error:
            raise DeliveryError(str(error), label="config") from None
        try:
            reply = await channels.send(
                channel.type, config, await written(channel, deliveries), self._outlets
            )
        except DeliveryError as error:
            if deliveries[0].type == TEST_EVENT:
                error.permanent = True  # whoever asked for the test is waiting for this one attempt
            raise
        return Outcome(reply.status, reply.body)

    def label(self, target: str) -> str:
        """The kind of a target in metrics: its channel's type."""
        if target == synthetic.TARGET:
            return "self_ping"
        channel = self._channels.by_id.get(number_of(target))
        return LABELS.get(channel.type, channel.type) if channel else "channel_webhook"


def number_of(target: str) -> int:
    """The channel's id in `channel:3`."""
    return int(target.rpartition(":")[2])


async def written(channel: Channel, deliveries: Sequence[Delivery]) -> Letter:
    """The letter of `letter`; a storm's digest is written in a thread, for others are to be told meanwhile."""
    if len(deliveries) > WRITTEN_HERE:
        return await asyncio.to_thread(letter, channel, deliveries)
    return letter(channel, deliveries)


def letter(channel: Channel, deliveries: Sequence[Delivery]) -> Letter:
    """The letter for one delivery, or for the digest that stands for several. Pure.

    A digest's name is that of its claim: repeated it has the same, and no other ever has.
    """
    first = deliveries[0]
    if not first.digest:
        if first.type == TEST_EVENT:
            note = test_note(channel.name, channel.language)
        else:
            note = Note.loads(json.loads(first.meta)["note"])
        return Letter(first.target, first.event, first.type, first.at, first.payload, note, first.claimed)
    note = compose_digest([_member(delivery) for delivery in deliveries], channel.language)
    payload = json.dumps({"count": len(deliveries), "events": [one.event for one in deliveries[:100]]})
    name = f"mp.digest.{first.target.replace(':', '.')}.{first.digest}"
    return Letter(first.target, name, "digest", first.at, payload, note, first.claimed)


def _member(delivery: Delivery) -> Member:
    meta = json.loads(delivery.meta)
    traits = {"module": meta["module"]} if meta.get("module") else {}
    return Member(delivery.type, meta.get("name", ""), meta.get("monitor", ""), traits)

"""Events become deliveries: which webhooks want each event, written to the ledger before the event is acknowledged."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from services.webhooks.subscription import Webhook, time_of
from services.webhooks.subscriptions import Webhooks
from shared import deliveries
from shared.connection import Store
from shared.deliveries import NewDelivery
from shared.events import Event
from shared.patterns import matches

SLICE: Final = 2_000
"""Deliveries held in memory at once, however many webhooks want an event."""
TYPES_KEPT: Final = 10_000


class Matching:
    """Which webhooks want a type of event, remembered for as long as no webhook changes."""

    def __init__(self) -> None:
        self._webhooks: Mapping[int, Webhook] = {}
        self._by_type: dict[str, list[Webhook]] = {}

    def of(self, webhooks: Mapping[int, Webhook], event: Event) -> list[Webhook]:
        """The webhooks that want the event and were active when it happened."""
        if webhooks is not self._webhooks or len(self._by_type) > TYPES_KEPT:
            self._webhooks, self._by_type = webhooks, {}
        candidates = self._by_type.get(event.type)
        if candidates is None:
            candidates = [one for one in webhooks.values() if matches(one.event_type, event.type)]
            self._by_type[event.type] = candidates
        at = time_of(event)
        return [one for one in candidates if one.was_active(at) and event.about != one.target]


class Dispatcher:
    """Handles events of the stream as `shared.streams` asks; it bears seeing one twice."""

    def __init__(self, store: Store, webhooks: Webhooks, wake: Callable[[Sequence[str]], None]) -> None:
        self._store = store
        self._webhooks = webhooks
        self._wake = wake
        self._matching = Matching()

    async def handle(self, events: Sequence[Event]) -> None:
        """Creates the deliveries of these events and tells the workers.

        The webhooks are looked up after the events were read, so that one that was switched on before an event
        happened is known here.
        """
        webhooks = await self._webhooks.current()
        items: list[NewDelivery] = []
        for event in (one for one in events if not one.synthetic):
            for webhook in self._matching.of(webhooks, event):
                items.append(NewDelivery(webhook.target, event.id, event.type, event.payload, event.at))
                if len(items) >= SLICE:
                    await self._create(items)
                    items = []
        await self._create(items)

    async def _create(self, items: Sequence[NewDelivery]) -> None:
        if not items:
            return
        made = await deliveries.create(self._store, items)
        self._wake([item.target for item, number in zip(items, made, strict=True) if number is not None])

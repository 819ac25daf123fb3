"""Events become deliveries: who is to be told, and in which words, is decided once and written down."""

import json
from collections.abc import Callable, Mapping, Sequence

import structlog

from services.notifier.message import Fact, compose
from services.notifier.routing import candidates, route
from shared import deliveries, keys, metrics
from shared.channels import Channel
from shared.channels_store import Channels
from shared.connection import Store
from shared.deliveries import NewDelivery
from shared.events import Event

log = structlog.get_logger(__name__)

PART = deliveries.CREATE_BATCH
"""Messages per shard that are composed before they are written, half a millisecond and a script call: a heartbeat that
needs the core waits for the end of such a burst."""

TRAIT = "module_version"
"""What shops may share when they fall silent together: a digest says "31 of them run module 2.3.1"."""


class Dispatcher:
    """Handles batches of events for the notifier's consumer group.

    1. Route each event to channels (pure).
    2. Compose the message in the channel's language, now, so that every attempt says the same.
    3. Write the deliveries; the same event for the same channel is written once, however often it is read.
    4. Wake the workers. Only then does the caller acknowledge the events.
    """

    def __init__(
        self,
        store: Store,
        public_url: str,
        wake: Callable[[Sequence[str]], None],
        beside: Mapping[int, Channel] | None = None,
    ) -> None:
        """`beside` are channels by id that nobody configured."""
        self._store = store
        self._beside = beside or {}
        self._public_url = public_url
        self._wake = wake
        self._channels = Channels(store)

    async def handle(self, events: Sequence[Event]) -> None:
        """Writes the deliveries of `events`. Raises redis-py's errors; the same call again completes the rest."""
        channels = {**await self._channels.current(), **self._beside}
        traits = await self._traits(events)
        planned: list[NewDelivery] = []
        for event in events:
            trait = traits.get(event.fields.get("name", ""), "")
            for telling in route(event, candidates(event, channels)):
                planned.append(self._delivery(event, telling.channel, trait))
                if len(planned) == PART * self._store.shards:
                    await self._write(planned)
                    planned = []
        await self._write(planned)
        for event in events:
            if event.type in SEEN and not event.synthetic:
                SEEN[event.type].inc()

    async def _write(self, planned: Sequence[NewDelivery]) -> None:
        if planned:
            await deliveries.create(self._store, planned)
            self._wake(list(dict.fromkeys(item.target for item in planned)))

    def _delivery(self, event: Event, channel: Channel, trait: str) -> NewDelivery:
        fields = event.fields
        link = f"{self._public_url}/ui/monitors/{fields['monitor']}" if self._can_link(fields) else ""
        note = compose(Fact(event.type, event.at, fields, event.payload), channel.language, link)
        meta = {"note": note.dumps(), "name": fields.get("name", ""), "monitor": fields.get("monitor", "")}
        if trait:
            meta["module"] = trait
        return NewDelivery(
            channel.target,
            event.id,
            event.type,
            event.payload,
            event.at,
            fields.get("incident", ""),
            json.dumps(meta),
        )

    def _can_link(self, fields: Mapping[str, str]) -> bool:
        return bool(self._public_url and fields.get("monitor"))

    async def _traits(self, events: Sequence[Event]) -> dict[str, str]:
        """The module version of each shop among the events, by its domain."""
        domains = sorted(
            {event.fields["name"] for event in events if '"telemetry"' in event.fields.get("tags", "")}
        )
        if not domains:
            return {}
        records = await self._store.redis.hmget(keys.TELEMETRY, domains)  # type: ignore[misc]
        found = {}
        for domain, record in zip(domains, records, strict=True):
            # A shop is reserved before its first report is kept, and its first events come in between.
            version = json.loads(record).get("report", {}).get(TRAIT) if record else None
            if version:
                found[domain] = str(version)
        return found


SEEN = {
    f"monitor.{status}": metrics.TRANSITIONS.labels(status)
    for status in ("alive", "warning", "error", "recovered", "paused", "resumed")
}
"""Transitions are counted where each passes once; deaths are counted by the watchdog."""

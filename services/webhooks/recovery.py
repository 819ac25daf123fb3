"""`recover`: delivers all that failed or was missed since a time."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from services.webhooks import event_log, subscriptions, trial
from services.webhooks.cursor import START
from services.webhooks.subscription import Webhook, covered, time_of
from shared import deliveries, delivery_history, keys, scripts
from shared.connection import Store
from shared.deliveries import NewDelivery
from shared.events import Event

STEP: Final = 200
"""Deliveries read, or brought forward, per round trip."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Recovered:
    """What a recovery did. `reaches_back_to` (ms) is where the event log begins when that is too late."""

    redelivered: int
    missed: int
    hurried: int
    reaches_back_to: int | None


async def recover(store: Store, webhook: Webhook, since: int) -> Recovered:
    """Delivers all that failed or was missed since a time (ms), oldest first, in bounded steps.

    1. Dead letters that ended since then and were not redelivered yet become new deliveries.
    2. Events of the log that happened while the webhook was off, or before it was there, become deliveries.
    3. The webhook counts as active for that time: what is recovered once is missed no more.
    4. Pending deliveries that wait for a retry are due now: whoever asks says that the receiver is back.
    When it is interrupted, asking again completes it; what was made already may then be sent twice, with the same id.
    """
    ends = await event_log.ends(store)
    kept = await event_log.first_kept(store, tuple(event_log.before(since) for _ in ends))
    redelivered = await _redeliver(store, webhook.target, since)
    missed, newest = 0, since
    for shard, end in enumerate(ends):
        if end != START:
            newest = max(newest, end[0])
            async for events in event_log.since(store, shard, since, end):
                missed += await _create(store, webhook, events)
    await subscriptions.change(store, webhook.id, lambda found: covered(found, since - 1, newest))
    hurried = await hurry(store, webhook.target)
    reaches_back_to = None if kept is None else max(ms for ms, _ in kept)
    log.info(
        "webhook.recovered", target=webhook.target, redelivered=redelivered, missed=missed, hurried=hurried
    )
    return Recovered(redelivered, missed, hurried, reaches_back_to)


async def _create(store: Store, webhook: Webhook, events: Sequence[Event]) -> int:
    items = [
        NewDelivery(webhook.target, event.id, event.type, event.payload, event.at)
        for event in events
        if webhook.wants(event) and not webhook.was_active(time_of(event))
    ]
    return sum(1 for made in await deliveries.create(store, items) if made is not None)


async def _redeliver(store: Store, target: str, since: int) -> int:
    """Repeats the dead letters that ended at or after `since`, oldest first."""
    key = keys.of_target(store.shard_of(target), "dead", target)
    newest = await store.redis.zrevrange(key, 0, 0)
    above, total = "-inf", 0
    while newest:
        numbers = await store.redis.zrangebyscore(key, above, newest[0], start=0, num=STEP)
        if not numbers:
            break
        above = f"({numbers[-1]}"
        found = await delivery_history.read_many(store, target, [int(number) for number in numbers])
        failed = [
            old
            for old in found
            if (old.finished or old.created) >= since
            and old.redelivered_as is None
            and old.meta != trial.META
        ]
        total += len(await deliveries.redeliver(store, failed)) if failed else 0
    return total


async def hurry(store: Store, target: str) -> int:
    """Makes pending deliveries that wait for a retry due now; returns how many."""
    shard = store.shard_of(target)
    queue = keys.of_target(shard, "queue", target)
    total = 0
    while numbers := await store.redis.zrevrangebyscore(queue, "+inf", await _soon(store), start=0, num=STEP):
        names = [keys.due(shard, keys.kind_of(target)), queue, keys.of_target(shard, "target", target)]
        names += [keys.delivery(shard, target, number) for number in numbers]
        total += int(await scripts.run(store.redis, "delivery_hurry", names, ["", target, *numbers]))
    return total


async def _soon(store: Store) -> str:
    seconds, micros = await store.redis.time()
    return f"({seconds * 1000 + micros // 1000}"

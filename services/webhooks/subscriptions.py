"""Webhooks in Redis: one JSON record each in one hash, with a version that grows at every change."""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import structlog

from services.webhooks.subscription import NOW, Disabled, Webhook, dumps, loads, resealed, switched
from shared import deliveries, delivery_history, delivery_upkeep, keys, scripts
from shared.connection import Store
from shared.errors import ConfigError, NotFound
from shared.secrets import SecretBox

log = structlog.get_logger(__name__)

KIND: Final = "webhooks"


async def add(store: Store, make: Callable[[int], Webhook]) -> Webhook:
    """Stores what `make(id)` returns; ids grow and are never given out twice."""
    webhook = make(int(await store.redis.incr(keys.ids(KIND))))
    await _write(store, webhook.id, "", webhook)
    return await align(store, webhook.id)


async def get(store: Store, webhook_id: int) -> Webhook:
    """One webhook; NotFound when there is none of this id."""
    return loads(webhook_id, await _read(store, webhook_id))


async def change(store: Store, webhook_id: int, edit: Callable[[Webhook], Webhook]) -> Webhook:
    """Stores what `edit(webhook)` returns, and returns it as stored; NotFound when there is none.

    `edit` runs again, on the newer record, when another writer came first: no change is lost.
    """
    while True:
        text = await _read(store, webhook_id)
        edited = edit(loads(webhook_id, text))
        if await _write(store, webhook_id, text, edited):
            return await align(store, webhook_id)


async def align(store: Store, webhook_id: int) -> Webhook:
    """Holds the deliveries of a webhook that is off and lets those of one that is on go; returns the webhook.

    The record decides, the ledger follows: again until no change came in between.
    """
    webhook = await get(store, webhook_id)
    while True:
        (state,) = await delivery_history.stats(store, [webhook.target])
        if webhook.is_active and state.disabled is not None:
            await deliveries.enable(store, webhook.target)
        elif not webhook.is_active and state.disabled is None:
            await deliveries.disable(store, webhook.target)
        seen, webhook = webhook, await get(store, webhook_id)
        if seen.is_active == webhook.is_active:
            return webhook


async def disable(store: Store, webhook_id: int, reason: str, failing_since: int | None) -> bool:
    """Switches a webhook off because of what its receiver did; False when it was off already or is gone.

    Of several workers that find the same, one gets True. The record says so until `told`.
    """
    try:
        while True:
            text = await _read(store, webhook_id)
            webhook = loads(webhook_id, text)
            untold = Disabled(reason, NOW, failing_since)
            off = replace(switched(webhook, active=False, reason=reason), updated_at=NOW, untold=untold)
            if not webhook.is_active or await _write(store, webhook_id, text, off):
                await align(store, webhook_id)
                return webhook.is_active
    except NotFound:
        return False


async def told(store: Store, webhook_id: int, disabled: Disabled) -> None:
    """Strikes off the record that a webhook was disabled: its event is in the stream. NotFound when it is gone."""

    def strike(webhook: Webhook) -> Webhook:
        return replace(webhook, untold=None) if webhook.untold == disabled else webhook

    await change(store, webhook_id, strike)


async def remove(store: Store, webhook_id: int) -> None:
    """Removes a webhook with its deliveries; NotFound when there is none."""
    text = await _read(store, webhook_id)
    while not await _write(store, webhook_id, text, None):
        try:
            text = await _read(store, webhook_id)
        except NotFound:  # removed already, by this very call when its answer was lost
            break
    await delivery_upkeep.delete_target(store, f"webhook:{webhook_id}")


async def reseal(store: Store, box: SecretBox) -> int:
    """Moves every webhook's secrets to the newest key; returns how many webhooks that changed.

    After it the older keys can be dropped. A secret whose key is missing is left as it is, and told of.
    """
    count = 0
    for webhook_id, webhook in (await load(store)).items():
        try:
            if resealed(webhook, box) != webhook:
                await change(store, webhook_id, lambda found: resealed(found, box))
                count += 1
        except NotFound:
            continue
        except ConfigError as error:
            log.error("webhook.secret_lost", webhook=webhook_id, error=str(error))  # noqa: TRY400 - no trace helps
    return count


async def load(store: Store) -> dict[int, Webhook]:
    """Every webhook by its id, oldest first."""
    records: dict[str, str] = await store.redis.hgetall(keys.WEBHOOKS)  # type: ignore[misc]
    return {int(number): loads(number, records[number]) for number in sorted(records, key=int)}


@dataclass
class Webhooks:
    """Every webhook in the memory of one process, never stale: the version is asked for each time."""

    store: Store
    version: str | None = None
    by_id: Mapping[int, Webhook] = field(default_factory=dict)

    async def current(self) -> Mapping[int, Webhook]:
        """The webhooks as they are now: one `GET`, and one read of all when something changed."""
        version = await self.store.redis.get(keys.version(KIND)) or "0"
        if version != self.version:
            # Read after the version: a change in between is read now and, once more, the next time.
            self.by_id = await load(self.store)
            self.version = version
        return self.by_id


async def _read(store: Store, webhook_id: int) -> str:
    text: str | None = await store.redis.hget(keys.WEBHOOKS, str(webhook_id))  # type: ignore[misc]
    if text is None:
        raise NotFound(f"there is no webhook {webhook_id}")
    return text


async def _write(store: Store, webhook_id: int, before: str, after: Webhook | None) -> bool:
    parts = [""] if after is None else dumps(after, secrets.token_hex(8))
    key_names = [keys.WEBHOOKS, keys.version(KIND)]
    return bool(
        await scripts.run(store.redis, "replace_record", key_names, [str(webhook_id), before, *parts])
    )

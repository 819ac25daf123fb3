"""`mishpulse import`: puts an exported configuration into a server.

1. Compare the file with what is there: records that are equal are left alone.
2. Refuse, before anything is written, what clashes: a token that another monitor has; and unless it was asked for,
   whatever is there already and differs.
3. Write channels and webhooks, then monitors, then API tokens; each keeps its id. A second run completes what a first
   one that was interrupted has left.
"""

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from services.admin.monitor_shapes import channels_text, ms
from services.console import exporting, records
from services.console.records import ChannelRecord, Configuration, MonitorRecord, TokenRecord, WebhookRecord
from services.webhooks import subscriptions
from services.webhooks.subscription import NOW, Webhook, sealed, switched
from services.webhooks.subscription import dumps as webhook_text
from services.webhooks.subscription import loads as webhook_of
from shared import auth, channels, directory, keys, monitors, scripts
from shared.channels import Channel
from shared.connection import Store
from shared.errors import ConfigError, Conflict, NotFound
from shared.monitors import NewMonitor
from shared.secrets import SecretBox

KINDS = {
    "monitors": "id",
    "channels": "id",
    "webhooks": "id",
    "tokens": "token_hash",
    "status_pages": "slug",
}
"""What makes a record of each kind the same one."""
TOLD = 10
"""Clashes that are told at once."""


@dataclass(frozen=True, slots=True)
class Difference:
    """What of the file is not there (`new`), what is there but differs (`other`), and how much is equal."""

    new: Configuration
    other: Configuration
    equal: int


def difference(wanted: Configuration, known: Configuration) -> Difference:
    """The file against the server. Pure."""
    equal = 0
    new: dict[str, Any] = {}
    other: dict[str, Any] = {}
    for kind, key in KINDS.items():
        here = {getattr(record, key): record.model_dump() for record in getattr(known, kind)}
        theirs = getattr(wanted, kind)
        new[kind] = [one for one in theirs if getattr(one, key) not in here]
        there = [one for one in theirs if getattr(one, key) in here]
        other[kind] = [one for one in there if one.model_dump() != here[getattr(one, key)]]
        equal += len(there) - len(other[kind])
    return Difference(_part(new), _part(other), equal)


def _part(parts: dict[str, Any]) -> Configuration:
    return Configuration.model_construct(mishpulse=records.FORMAT, secrets="sealed", **parts)


def clashes(found: Difference) -> list[str]:
    """What is there already and differs from the file, in words."""
    other = found.other
    return [
        *(f"monitor {one.id} ({one.name})" for one in other.monitors),
        *(f"channel {one.id} ({one.name})" for one in other.channels),
        *(f"webhook {one.id} ({one.name})" for one in other.webhooks),
        *(f"token {one.name}" for one in other.tokens),
        *(f"status page {one.slug}" for one in other.status_pages),
    ]


async def put(store: Store, wanted: Configuration, box: SecretBox, *, overwrite: bool) -> dict[str, int]:
    """Imports a configuration; returns how many records were new, changed and equal.

    Raises ConfigError or Conflict, with nothing written, for what the docstring of this module says.
    """
    opened = wanted.secrets == "open"
    if opened:
        _check_configs(wanted.channels)
    found = difference(wanted, await exporting.collect(store, box if opened else None))
    differing = clashes(found)
    if differing and not overwrite:
        more = f" and {len(differing) - TOLD} more" if len(differing) > TOLD else ""
        raise Conflict(
            f"{', '.join(differing[:TOLD])}{more} are here already and differ from the file; nothing was changed. "
            "--overwrite makes them as the file says"
        )
    await _check_tokens(store, [*found.new.monitors, *found.other.monitors])
    for part in (found.new, found.other):
        for channel in part.channels:
            await _channel(store, channel, box if opened else None)
        for webhook in part.webhooks:
            await _webhook(store, webhook, box if opened else None)
        for monitor in part.monitors:
            await _monitor(store, monitor)
        for token in part.tokens:
            await _token(store, token)
        for page in part.status_pages:
            await store.redis.hset(keys.STATUS_PAGES, page.slug, json.dumps(page.model_dump()))  # type: ignore[misc]
    await _raise_ids(store, "channels", [one.id for one in wanted.channels])
    await _raise_ids(store, "webhooks", [one.id for one in wanted.webhooks])
    new = sum(len(getattr(found.new, kind)) for kind in KINDS)
    return {"new": new, "changed": len(differing), "equal": found.equal}


def _check_configs(found: Sequence[ChannelRecord]) -> None:
    for record in found:
        try:
            channels.validate(record.type, record.config)
        except ValueError as error:
            raise ConfigError(f"channel {record.id} ({record.name}): {error}") from None


async def _check_tokens(store: Store, found: Sequence[MonitorRecord]) -> None:
    for record in found:
        holder = await monitors.find_by_token(store, record.token_hash)
        if holder not in (None, record.id):
            raise Conflict(f"monitor {record.id} ({record.name}): its token belongs to monitor {holder} here")


async def _channel(store: Store, record: ChannelRecord, box: SecretBox | None) -> None:
    config = channels.seal(record.type, record.config, record.id, box) if box else record.config
    seconds, _ = await store.redis.time()
    channel = Channel(
        id=record.id,
        name=record.name,
        type=record.type,
        config=config,
        events=tuple(record.events),
        language=record.language,
        muted=record.muted,
        created_at=records.ms_of(record.created_at),
        updated_at=seconds * 1000,
    )
    await _replace(store, keys.CHANNELS, "channels", record.id, [channels.dumps(channel)])


async def _webhook(store: Store, record: WebhookRecord, box: SecretBox | None) -> None:
    secret = sealed(record.id, record.secret, box) if box else record.secret
    before = await store.redis.hget(keys.WEBHOOKS, str(record.id))  # type: ignore[misc]
    start = (
        webhook_of(record.id, before) if before else Webhook(record.id, "", "", "", is_active=False, spans=())
    )
    webhook = replace(
        switched(start, active=record.is_active, reason=record.disabled_reason),
        name=record.name,
        url=record.url,
        event_type=record.event_type,
        description=record.description,
        disabled_reason=record.disabled_reason,
        secret=secret,
        old_secret="",
        old_secret_until=0,
        created_at=records.ms_of(record.created_at),
        updated_at=NOW,
    )
    await _replace(store, keys.WEBHOOKS, "webhooks", record.id, webhook_text(webhook, secrets.token_hex(8)))
    await subscriptions.align(store, record.id)


async def _replace(store: Store, key: str, kind: str, number: int, parts: Sequence[str]) -> None:
    while True:
        before = await store.redis.hget(key, str(number)) or ""  # type: ignore[misc]
        arguments = [str(number), before, *parts]
        if await scripts.run(store.redis, "replace_record", [key, keys.version(kind)], arguments):
            return


async def _raise_ids(store: Store, kind: str, used: Sequence[int]) -> None:
    """No later channel or webhook gets an id that came with the file."""
    last = int(await store.redis.get(keys.ids(kind)) or 0)
    if used and max(used) > last:
        await store.redis.incrby(keys.ids(kind), max(used) - last)


async def _monitor(store: Store, record: MonitorRecord) -> None:
    new = NewMonitor(
        name=record.name,
        timeout=ms(record.timeout),
        grace=ms(record.grace),
        slug=record.slug,
        schedule=record.schedule,
        timezone=record.timezone,
        methods=record.methods,
        tags=record.tags,
        channels=channels_text(record.channels),
    )
    await directory.point(store, record.token_hash, record.id)
    if not await monitors.write(store, record.id, record.token_hash, new):
        await _change(store, record, new)
    if record.muted_until:
        await scripts.update_monitor(
            store, record.id, {"muted": str(records.ms_of(record.muted_until))}, tell=False
        )
    await scripts.pause_monitor(store, record.id, "pause" if record.paused else "resume")
    if record.shop:
        await store.redis.hsetnx(keys.TELEMETRY, record.shop, json.dumps({"monitor": record.id}))  # type: ignore[misc]


async def _change(store: Store, record: MonitorRecord, new: NewMonitor) -> None:
    """Makes a monitor that is there as the file says; its state and history stay."""
    try:
        monitor = await monitors.get(store, record.id)
    except NotFound:
        return  # deleted this very moment
    fields = {
        "name": new.name,
        "slug": new.slug or "",
        "token": record.token_hash,
        "timeout": str(new.timeout),
        "grace": str(new.grace) if new.grace else "",
        "schedule": new.schedule,
        "timezone": new.timezone,
        "methods": new.methods,
        "tags": json.dumps(list(new.tags), ensure_ascii=False) if new.tags else "",
        "channels": new.channels,
        "muted": "",
    }
    await monitors.update(store, monitor, fields)
    if monitor.token_hash != record.token_hash:
        await directory.release(store, monitor.token_hash, monitor.id)


async def _token(store: Store, record: TokenRecord) -> None:
    known = await auth.by_hash(store, record.token_hash)
    number = known.id if known else int(await store.redis.incr(keys.ids("apitokens")))
    fields = {
        "id": str(number),
        "name": record.name,
        "scopes": json.dumps(sorted(record.scopes)),
        "created_at": str(records.ms_of(record.created_at)),
    }
    async with store.redis.pipeline(transaction=True) as pipe:
        pipe.hset(keys.api_token(record.token_hash), mapping=fields)
        pipe.hset(keys.API_TOKENS, str(number), record.token_hash)
        if "admin" in record.scopes:
            pipe.set(keys.ids("admin-token"), "made", nx=True)  # the first start need not make one
        await pipe.execute()

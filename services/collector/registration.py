"""Monitors that come to be by themselves: a shop with its first telemetry, a slug with `?create=1`.

Both in the same steps, so that of requests that race, or die half-way, one monitor comes out: an id is reserved by a
script, the monitor is written under that id, which a second writer finds taken, and its token hash is read back.
"""

import json
import time
from typing import Any

from shared import keys, monitors, scripts
from shared.auth import hash_token
from shared.connection import Store
from shared.model import made_at, new_monitor_id, new_token
from shared.monitors import NewMonitor
from shared.scripts import MonitorKeys, RunArgument

HOUR = 3_600_000
RESERVED_MS = 60_000
"""A reservation is written within milliseconds; a minute is a process that died."""
PRUNE_EVERY = 60
"""Seconds: a full list is searched for shops whose monitor was deleted no more often than this."""


class FullError(Exception):
    """As many shops have registered as `PULSE_TELEMETRY_MAX` allows."""


async def living(store: Store, monitor_id: str) -> MonitorKeys | None:
    """The keys of a monitor of which only the id is known; None when there is none."""
    key = keys.monitor(store.shard_of(monitor_id), monitor_id)
    token_hash = await store.redis.hget(key, "token")  # type: ignore[misc]
    return scripts.monitor_keys(store, monitor_id, token_hash) if token_hash else None


async def _written(store: Store, monitor_id: str, new: NewMonitor) -> tuple[MonitorKeys | None, bool]:
    """The monitor under a reserved id, and whether this call made it; its token is known to nobody yet."""
    made = await monitors.write(store, monitor_id, hash_token(new_token()), new)
    return await living(store, monitor_id), made


def is_left_over(monitor_id: str) -> bool:
    """Whether a reservation is too old to be somebody's who is about to write the monitor.

    Its process died, or the monitor lived and was deleted. Its id must not come back: the events of a second life would
    have the ids of the first, and whoever has seen those would drop them.
    """
    return made_at(monitor_id) < time.time() * 1000 - RESERVED_MS


async def by_slug(store: Store, slug: str) -> list[MonitorKeys]:
    """Every monitor with this slug."""
    found = [await living(store, monitor_id) for monitor_id in await monitors.find_by_slug(store, slug)]
    return [monitor for monitor in found if monitor]


async def create_by_slug(store: Store, slug: str) -> tuple[list[MonitorKeys], bool]:
    """The monitors with this slug, and whether one was made now.

    A new one has a day of timeout and an hour of grace: what clients that create monitors by ping reckon with.
    """
    key = keys.slugs(store.shards, slug)
    for monitor_id in await monitors.find_by_slug(store, slug):
        if is_left_over(monitor_id) and await living(store, monitor_id) is None:
            await store.redis.hdel(key, monitor_id)  # type: ignore[misc]
    ids = await scripts.run(store.redis, "claim_slug", [key], [slug, new_monitor_id()])
    new = NewMonitor(name=slug, slug=slug, timeout=24 * HOUR, grace=HOUR)
    found, made = [], False
    for monitor_id in ids:
        monitor = await living(store, monitor_id)
        if monitor is None:
            monitor, made = await _written(store, monitor_id, new)
        if monitor:
            found.append(monitor)
    return found, made


async def shop(store: Store, domain: str, *, timeout_ms: int, at_most: int) -> MonitorKeys | None:
    """The monitor of a shop, made when the domain is new or its monitor was deleted.

    None when it was deleted this very moment. Raises FullError when `at_most` shops have one already.
    """
    stale = ""
    entry = await store.redis.hget(keys.TELEMETRY, domain)  # type: ignore[misc]
    if entry:
        known: dict[str, Any] = json.loads(entry)
        monitor = await living(store, known["monitor"])
        if monitor:
            return monitor
        # Without a report it was just reserved by another request, so the id is still good.
        stale = known["monitor"] if "report" in known or is_left_over(known["monitor"]) else ""
    arguments: list[RunArgument] = [domain, new_monitor_id(), at_most, stale]
    monitor_id = await scripts.run(store.redis, "claim_shop", [keys.TELEMETRY], arguments)
    if not monitor_id and await prune_shops(store):
        monitor_id = await scripts.run(store.redis, "claim_shop", [keys.TELEMETRY], arguments)
    if not monitor_id:
        raise FullError
    new = NewMonitor(name=domain, timeout=timeout_ms, tags=("telemetry",), channels="")
    return (await _written(store, monitor_id, new))[0]


async def prune_shops(store: Store) -> int:
    """Forgets shops whose monitor was deleted, at most once a minute; returns how many.

    A shop that registers again at that moment is not forgotten: only the record that was read here goes.
    """
    if not await store.redis.set(keys.TELEMETRY_PRUNED, "", nx=True, ex=PRUNE_EVERY):
        return 0
    pruned, cursor = 0, 0
    while True:
        cursor, page = await store.redis.hscan(keys.TELEMETRY, cursor, count=500)
        for domain, text in page.items():
            known = json.loads(text)
            if ("report" in known or is_left_over(known["monitor"])) and await living(
                store, known["monitor"]
            ) is None:
                pruned += await scripts.run(store.redis, "forget_shop", [keys.TELEMETRY], [domain, text])
        if not cursor:
            return pruned

"""The hint: expiry events of the monitors' TTL keys, which may be late, lost or doubled without harm."""

import asyncio
import contextlib
import re

import structlog
from redis.exceptions import RedisError

from services.watchdog.transitions import declare
from shared.connection import Store

log = structlog.get_logger(__name__)

PULSE = re.compile(r"mp:\{(\d+)\}:pulse:([0-9a-z]+)")
"""Ids have no hyphen, so that the self-ping's monitor is left to the sweep, which it is there to prove."""
GATHER = 0.005
"""Seconds in which events are gathered: keys that expire together are declared in one script call."""


async def listen(store: Store, stop: asyncio.Event) -> None:
    """Declares monitors whose TTL key expired, until `stop` is set; reconnects for as long as it takes."""
    while not stop.is_set():
        try:
            await _request_events(store)
            await _follow(store, stop)
        except Exception as error:  # noqa: BLE001 - hints may be lost, but must not take the sweep with them
            log.warning("expiry events are lost for now; the sweep goes on", error=str(error))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await stop.wait()


async def _request_events(store: Store) -> None:
    """Adds expiry events to whatever the server is told to notify; a managed server may forbid that."""
    try:
        config = await store.redis.config_get("notify-keyspace-events")
        flags = set(config.get("notify-keyspace-events", ""))
        if not {"E", "x"} <= flags and not {"E", "A"} <= flags:
            await store.redis.config_set("notify-keyspace-events", "".join(sorted(flags | {"E", "x"})))
    except RedisError as error:
        log.warning("cannot switch expiry events on; the sweep goes on without them", error=str(error))


async def _follow(store: Store, stop: asyncio.Event) -> None:
    pubsub = store.redis.pubsub()
    try:
        await pubsub.psubscribe("__keyevent@*__:expired")
        while not stop.is_set():
            message = await pubsub.get_message(ignore_subscribe_messages=True, timeout=1.0)
            due: dict[int, list[str]] = {}
            while message is not None:
                matched = PULSE.fullmatch(message["data"])
                if matched and int(matched[1]) < store.shards:
                    due.setdefault(int(matched[1]), []).append(matched[2])
                message = await pubsub.get_message(ignore_subscribe_messages=True, timeout=GATHER)
                if sum(map(len, due.values())) >= 256:
                    break
            for shard, ids in due.items():
                await declare(store, shard, ids, by="hint")
    finally:
        await pubsub.aclose()  # type: ignore[no-untyped-call]

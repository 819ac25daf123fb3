"""The hint: expiry events of the monitors' TTL keys, which may be late, lost or doubled without harm."""

import asyncio
import contextlib
import math
import re

import structlog
from redis.exceptions import RedisError

from services.watchdog.transitions import declare
from shared.cluster import primaries
from shared.connection import RedisClient, Store

log = structlog.get_logger(__name__)

PULSE = re.compile(r"mp:\{(\d+)\}:pulse:([0-9a-z]+)")
"""Ids have no hyphen, so that the self-ping's monitor is left to the sweep, which it is there to prove."""

GATHER = 0.005
"""Seconds in which events are gathered: keys that expire together are declared in one script call."""
GATHERED = 10 * GATHER
"""Seconds after which what was gathered is declared although events still come: keys of others may expire without a
pause, and a hint that waits for one would be worth nothing."""

LOOK_AGAIN = 60.0
"""Seconds after which a cluster is asked for its primaries again: one may have been added."""


STORM = 256
"""Hints gathered at once that make a storm: the sweep, which asks for 512 at a time, finds those dead in half the time
when this process does not read their events as well."""
REST = 1.0
"""Seconds without hints after that."""


async def listen(store: Store, stop: asyncio.Event, *, sweep_interval: float = math.inf) -> None:
    """Declares monitors whose TTL key expired, until `stop` is set; reconnects for as long as it takes.

    A storm is left to a sweep whose interval (s) is shorter than the rest that the hints then take. Expiry events are
    told by the server that holds the key, so each primary of a cluster is followed.
    """
    while not stop.is_set():
        try:
            servers = await primaries(store.redis)
            until = asyncio.get_running_loop().time() + LOOK_AGAIN if len(servers) > 1 else math.inf
            async with asyncio.TaskGroup() as group:
                for server in servers:
                    await _request_events(server)
                    group.create_task(_follow(store, server, stop, until, leave_storms=sweep_interval < REST))
        except Exception as error:  # noqa: BLE001 - hints may be lost, but must not take the sweep with them
            why = error.exceptions[0] if isinstance(error, ExceptionGroup) else error
            log.warning("expiry events are lost for now; the sweep goes on", error=str(why))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await stop.wait()


async def _request_events(server: RedisClient) -> None:
    """Adds expiry events to whatever the server is told to notify; a managed server may forbid that."""
    try:
        config = await server.config_get("notify-keyspace-events")
        flags = set(config.get("notify-keyspace-events", ""))
        if not {"E", "x"} <= flags and not {"E", "A"} <= flags:
            await server.config_set("notify-keyspace-events", "".join(sorted(flags | {"E", "x"})))
    except RedisError as error:
        log.warning("cannot switch expiry events on; the sweep goes on without them", error=str(error))


async def _follow(
    store: Store, server: RedisClient, stop: asyncio.Event, until: float, *, leave_storms: bool
) -> None:
    loop = asyncio.get_running_loop()
    while not stop.is_set() and loop.time() < until:
        if await _follow_to_storm(store, server, stop, until, leave_storms=leave_storms):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(REST):
                    await stop.wait()


async def _follow_to_storm(
    store: Store, server: RedisClient, stop: asyncio.Event, until: float, *, leave_storms: bool
) -> bool:
    """One subscription; True when it ended because of a storm, whose hints went with it."""
    pubsub = server.pubsub()
    loop = asyncio.get_running_loop()
    try:
        await pubsub.psubscribe("__keyevent@*__:expired")
        while not stop.is_set() and loop.time() < until:
            message = await pubsub.get_message(ignore_subscribe_messages=True, timeout=1.0)
            due: dict[int, list[str]] = {}
            enough = loop.time() + GATHERED
            while message is not None:
                matched = PULSE.fullmatch(message["data"])
                if matched and int(matched[1]) < store.shards:
                    due.setdefault(int(matched[1]), []).append(matched[2])
                if sum(map(len, due.values())) >= STORM or stop.is_set() or loop.time() >= enough:
                    break
                message = await pubsub.get_message(ignore_subscribe_messages=True, timeout=GATHER)
            if leave_storms and sum(map(len, due.values())) >= STORM:
                return True
            for shard, ids in due.items():
                await declare(store, shard, ids, by="hint")
        return False
    finally:
        await pubsub.aclose()  # type: ignore[no-untyped-call]

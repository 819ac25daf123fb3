"""Which processes run: each says so every few seconds, for the system page. Nothing decides by it."""

import asyncio
import json
import os
import platform
import socket
import time
from dataclasses import dataclass
from typing import Any, Final

import structlog

from shared import keys
from shared.connection import Store
from shared.version import version

EVERY_S: Final = 5.0
LIVES_MS: Final = 16_000
"""Three missed signs and a little: the process is gone."""
FORGOTTEN_MS: Final = 24 * 3_600_000

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Process:
    """A process as it was last seen; times in ms."""

    service: str
    host: str
    pid: int
    version: str
    python: str
    started: int
    seen: int


async def announce(store: Store, service: str) -> None:
    """Says that this process lives, until it is cancelled; an outage of Redis only makes it look gone."""
    name = f"{service}@{socket.gethostname()}:{os.getpid()}"
    record: dict[str, Any] = {
        "service": service,
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "version": version(),
        "python": platform.python_version(),
        "started": int(time.time() * 1000),
    }
    try:
        while True:
            try:
                seconds, micros = await store.redis.time()
                seen = seconds * 1000 + micros // 1000
                await store.redis.hset(keys.PROCESSES, name, json.dumps({**record, "seen": seen}))  # type: ignore[misc]
            except Exception as error:  # noqa: BLE001 - whoever looks sees it missing
                log.debug("presence.failed", error=repr(error))
            await asyncio.sleep(EVERY_S)
    finally:
        async with asyncio.timeout(1):
            await store.redis.hdel(keys.PROCESSES, name)  # type: ignore[misc]


async def processes(store: Store, now: int) -> list[Process]:
    """Every process seen within a day of `now` (ms), by service; older ones are forgotten."""
    found: dict[str, str] = await store.redis.hgetall(keys.PROCESSES)  # type: ignore[misc]
    known = {name: Process(**json.loads(text)) for name, text in found.items()}
    old = [name for name, process in known.items() if process.seen < now - FORGOTTEN_MS]
    if old:
        await store.redis.hdel(keys.PROCESSES, *old)  # type: ignore[misc]
    kept = [process for name, process in known.items() if name not in old]
    return sorted(kept, key=lambda one: (one.service, one.host, one.pid))

"""The watchdog process: a sweep per shard, the expiry listener, what a stepped clock asks for, and stream trimming."""

import asyncio

import structlog

from services.watchdog.expiry import listen
from services.watchdog.rewinding import keep_rewinding
from services.watchdog.sweep import sweep
from shared import metrics, monitors, stream_upkeep
from shared.connection import Store
from shared.settings import Settings

log = structlog.get_logger(__name__)

TRIM_EVERY = 30.0
"""Seconds between trims: at 10,000 events/s the stream outgrows its limit by a third at most."""


async def run(store: Store, settings: Settings, stop: asyncio.Event) -> None:
    """Watches until `stop` is set; an unreachable Redis only delays it."""
    async with asyncio.TaskGroup() as group:
        for shard in range(store.shards):
            group.create_task(sweep(store, shard, settings.sweep_interval, stop))
            group.create_task(keep_rewinding(store, shard, stop))
        group.create_task(keep_trimming(store, stop))
        if settings.expiry_hints:
            group.create_task(listen(store, stop, sweep_interval=settings.sweep_interval))


async def keep_trimming(store: Store, stop: asyncio.Event) -> None:
    """Trims the event streams, and counts the monitors by the way, until `stop` is set."""
    while not stop.is_set():
        for shard in range(store.shards):
            try:
                await stream_upkeep.trim(store, shard)
            except Exception as error:  # noqa: BLE001 - trimming late is harmless, not trimming at all is not
                metrics.count_redis_error(error)
                log.warning("stream not trimmed", shard=shard, error=str(error))
        try:
            metrics.MONITORS.set(await monitors.count(store))
        except Exception as error:  # noqa: BLE001 - a figure less is harmless
            metrics.count_redis_error(error)
        try:
            async with asyncio.timeout(TRIM_EVERY):
                await stop.wait()
        except TimeoutError:
            pass

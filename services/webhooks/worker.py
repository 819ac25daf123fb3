"""The webhooks-worker process: events become deliveries, deliveries become signed requests."""

import asyncio
import contextlib
import os
import secrets
from collections.abc import Coroutine
from functools import partial
from typing import Final

import structlog

from services.webhooks import consequences, subscriptions
from services.webhooks.dispatch import Dispatcher
from services.webhooks.keyring import open_box
from services.webhooks.sending import WebhookSender
from services.webhooks.subscriptions import Webhooks
from shared import outbound, queue, streams
from shared.connection import Store
from shared.errors import NotFound
from shared.secrets import SecretBox
from shared.settings import Settings

GROUP: Final = "webhooks"
KIND: Final = "webhook"
ALIGN_EVERY: Final = 60.0
"""Seconds between looks for webhooks of which a process that died left something undone."""

log = structlog.get_logger(__name__)


async def run(store: Store, settings: Settings, stop: asyncio.Event) -> None:
    """Delivers until `stop` is set; an unreachable Redis only delays it. ConfigError without a key for secrets."""
    box = open_box(settings)
    consumer = f"{os.getpid()}-{secrets.token_hex(4)}"
    async with (
        outbound.Sender(settings.allow_private_targets) as http,
        queue.waking(settings.queue_url, KIND) as waker,
    ):
        sender = WebhookSender(Webhooks(store), box, http)
        dispatcher = Dispatcher(store, Webhooks(store), waker.wake)
        async with _beside(streams.consume(store, GROUP, consumer, dispatcher.handle), _upkeep(store, box)):
            await queue.run_worker(
                store,
                settings.queue_url,
                sender,
                kind=KIND,
                stop=stop,
                observer=partial(consequences.observe, store),
                most_sends=settings.max_sends,
                waker=waker,
            )


class _beside:  # noqa: N801 - reads as a word in `async with`
    """Runs endless loops beside the body, and ends them with it."""

    def __init__(self, *loops: Coroutine[None, None, None]) -> None:
        self._loops = loops
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> None:
        self._tasks = [asyncio.create_task(loop) for loop in self._loops]

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def _upkeep(store: Store, box: SecretBox) -> None:
    """At the start and every minute: moves secrets to the newest key, lets the ledger follow the records, and makes
    good what a worker that died left undone.
    """
    while True:
        try:
            if count := await subscriptions.reseal(store, box):
                log.info("webhooks.resealed", webhooks=count)
            for webhook_id in await subscriptions.load(store):
                with contextlib.suppress(NotFound):  # deleted since
                    await consequences.make_good(store, await subscriptions.align(store, webhook_id))
        except Exception as error:  # noqa: BLE001 - the next minute is the remedy
            log.warning("webhooks.upkeep_failed", error=repr(error))
        await asyncio.sleep(ALIGN_EVERY)

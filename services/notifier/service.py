"""The notifier process: the event stream becomes deliveries, and deliveries become messages."""

import asyncio
import contextlib
import os
import secrets
from pathlib import Path

from services.notifier.channels import Outlets
from services.notifier.dispatch import Dispatcher
from services.notifier.jobs import Postman
from services.notifier.self_ping import SelfPing
from shared import queue, streams
from shared.connection import Store
from shared.outbound import Sender
from shared.secrets import load_key
from shared.settings import Settings

GROUP = "notifier"


async def run(store: Store, settings: Settings, stop: asyncio.Event) -> None:
    """Tells people until `stop` is set; an unreachable Redis only delays it.

    Raises ConfigError when the key for stored secrets is missing or wrong.
    """
    key_file = Path(settings.secret_key_file) if settings.secret_key_file else None
    box = load_key(settings.secret_key, key_file)
    consumer = f"{os.getpid()}-{secrets.token_hex(4)}"
    async with (
        Sender(settings.allow_private_targets) as sender,
        queue.waking(settings.queue_url, "channel") as waker,
    ):
        self_ping = SelfPing(store, settings, sender)
        dispatcher = Dispatcher(store, settings.public_url, waker.wake, self_ping.channels)
        postman = Postman(store, box, Outlets(sender, settings.smtp_url, settings.smtp_from), self_ping)
        reading = asyncio.gather(
            streams.consume(store, GROUP, consumer, dispatcher.handle), self_ping.keep_beginning()
        )
        try:
            await queue.run_worker(
                store,
                settings.queue_url,
                postman,
                kind="channel",
                stop=stop,
                digest=True,
                label=postman.label,
                most_sends=settings.max_sends,
                waker=waker,
            )
        finally:
            reading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await reading

"""Apprise: a hundred more services by one URL each. An optional extra, imported when it is first needed."""

import asyncio
from collections.abc import Sequence
from functools import cache
from typing import Any

from services.notifier.channels.guard import guarded
from services.notifier.channels.letter import Letter, Outlets
from services.notifier.forms import plain
from shared.channels import AppriseConfig
from shared.errors import DeliveryError
from shared.outbound import Reply
from shared.targets import Network
from shared.threads import in_thread


async def send(config: AppriseConfig, letter: Letter, outlets: Outlets) -> Reply:
    """Sends the note as plain text from a thread, within the deadline; its connections are checked like our
    own. What the library loads when it is first used is no part of the deadline.

    Raises DeliveryError, permanent for a URL that Apprise does not understand.
    """
    library = await in_thread(_library, "apprise")
    try:
        async with asyncio.timeout(outlets.sender.deadline):
            return await in_thread(
                lambda: _notify(library, config.url, letter, outlets.sender.allowed), "apprise"
            )
    except TimeoutError:
        raise DeliveryError("Apprise did not finish in time.", label="timeout") from None


@cache
def _library() -> Any:
    """The library with its hundred services, which it loads for the first URL: seconds on a busy machine."""
    try:
        import apprise  # noqa: PLC0415 - the extra is optional, and takes half a second to load
    except ImportError:
        raise DeliveryError(
            "Apprise is not installed: install mishpulse[apprise].", permanent=True, label="config"
        ) from None
    apprise.Apprise.instantiate("json://localhost")
    return apprise


def _notify(library: Any, url: str, letter: Letter, allowed: Sequence[Network]) -> Reply:
    service = library.Apprise(asset=library.AppriseAsset(async_mode=False))
    if not service.add(url):
        raise DeliveryError("Apprise does not understand this URL.", permanent=True, label="config")
    with guarded(allowed) as refused:
        sent = service.notify(body=plain(letter.note), body_format=library.NotifyFormat.TEXT)
    if sent:
        return Reply(200, "")
    if refused:
        raise DeliveryError(f"Not permitted: {'; '.join(sorted(set(refused)))}.", label="forbidden_address")
    raise DeliveryError("Apprise could not send it; its log lines say why.", label="rejected")

"""The ways to reach people: one module for each kind, one function each.

To add one: its config in `shared/channels.py`, its module here with a `send`, its line in SENDERS.
"""

from collections.abc import Mapping
from typing import Any

from services.notifier.channels import apprise, email, telegram, webhook
from services.notifier.channels.letter import Letter, Outlets, Send
from shared.outbound import Reply

__all__ = ["SENDERS", "Letter", "Outlets", "Send", "send"]

SENDERS: Mapping[str, Send[Any]] = {
    "telegram": telegram.send,
    "email": email.send,
    "webhook": webhook.send,
    "apprise": apprise.send,
}


async def send(kind: str, config: Any, letter: Letter, outlets: Outlets) -> Reply:
    """One attempt by a channel of this kind; `config` is its model of `shared.channels`.

    Returns what the destination answered. Raises DeliveryError when it was not accepted.
    """
    return await SENDERS[kind](config, letter, outlets)

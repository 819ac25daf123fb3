"""Telegram: a bot writes to a chat (https://core.telegram.org/bots/api#sendmessage)."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from services.notifier.channels.letter import Letter, Outlets
from services.notifier.forms import telegram as telegram_html
from shared.channels import TelegramConfig
from shared.errors import DeliveryError
from shared.outbound import Reply, Sender

PERMANENT = {400, 401, 403, 404}
"""A wrong chat or text, a wrong token, a bot that was blocked or removed, a malformed token."""


async def send(config: TelegramConfig, letter: Letter, outlets: Outlets) -> Reply:
    """Sends the note as HTML.

    A group that became a supergroup answers with its new id: the message goes there at once, and the reply
    says which `chat_id` to configure. Flood control's `retry_after` is exact and holds for the whole bot.
    """
    text = telegram_html(letter.note)
    reply = await _call(config, config.chat_id, text, outlets.sender)
    answer = _answer(reply)
    moved = _parameters(answer).get("migrate_to_chat_id")
    if reply.status == 400 and isinstance(moved, int):
        reply = await _call(config, str(moved), text, outlets.sender)
        _raise_for(reply, _answer(reply))
        return replace(reply, body=f"The chat has moved: set chat_id to {moved}.")
    _raise_for(reply, answer)
    return reply


async def _call(config: TelegramConfig, chat_id: str, text: str, sender: Sender) -> Reply:
    body = {
        "chat_id": chat_id,
        "text": text,
        "parse_mode": "HTML",
        "link_preview_options": {"is_disabled": True},
    }
    url = f"{config.api_base}/bot{config.bot_token}/sendMessage"
    return await sender.post(url, json.dumps(body).encode(), {"Content-Type": "application/json"})


def _raise_for(reply: Reply, answer: Mapping[str, Any]) -> None:
    """Raises DeliveryError unless the Bot API accepted the message."""
    if reply.status == 200 and reply.body.lstrip().startswith("{") and answer.get("ok") is not False:
        return
    description = str(answer.get("description") or "no answer of a Bot API")
    wait = _parameters(answer).get("retry_after")
    exact = reply.status == 429 and isinstance(wait, int)
    raise DeliveryError(
        f"Telegram answered {reply.status}: {description}"[:500],
        permanent=reply.status in PERMANENT and "description" in answer,
        retry_after=float(wait) if exact and wait else reply.retry_after,
        exact=exact,
        status=reply.status,
        body=reply.body,
        label="rejected" if reply.status in PERMANENT else "status",
    )


def _answer(reply: Reply) -> Mapping[str, Any]:
    """The Bot API's answer; {} for anything else, such as a success that is longer than what is kept."""
    try:
        answer = json.loads(reply.body)
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}


def _parameters(answer: Mapping[str, Any]) -> Mapping[str, Any]:
    parameters = answer.get("parameters")
    return parameters if isinstance(parameters, dict) else {}

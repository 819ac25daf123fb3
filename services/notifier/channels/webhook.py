"""A webhook as a channel: the event's payload with its type and a human text, signed like any other
webhook.
"""

import json

from services.notifier.channels.letter import Letter, Outlets
from services.notifier.forms import plain
from shared import signing
from shared.channels import WebhookConfig
from shared.errors import DeliveryError
from shared.outbound import Reply


async def send(config: WebhookConfig, letter: Letter, outlets: Outlets) -> Reply:
    """Posts the letter; any status but 2xx is a DeliveryError with that status, permanent for 410 alone."""
    body = document(letter)
    secrets = [config.secret] if config.secret else []
    ours = signing.headers(
        letter.event_type, letter.event_id, letter.channel_id, body, secrets, letter.attempted // 1000
    )
    reply = await outlets.sender.post(config.url, body, {**config.headers, **ours})
    if 200 <= reply.status <= 299:
        return reply
    raise DeliveryError(
        f"The receiver answered {reply.status}.",
        permanent=reply.status == 410,
        retry_after=reply.retry_after,
        status=reply.status,
        body=reply.body,
        label="status",
    )


def document(letter: Letter) -> bytes:
    """The body, in the same canonical form as every payload."""
    content = {**json.loads(letter.payload), "type": letter.event_type, "text": plain(letter.note)}
    return json.dumps(content, sort_keys=True).encode()

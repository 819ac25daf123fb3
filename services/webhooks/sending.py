"""One attempt: prepare the request from the webhook as it is now, send it, say what came of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from services.webhooks import trial
from services.webhooks.subscription import Webhook, signing_secrets
from services.webhooks.subscriptions import Webhooks
from shared import outbound, signing
from shared.deliveries import Delivery
from shared.errors import ConfigError, DeliveryError
from shared.gathering import Gatherer
from shared.outbound import Reply
from shared.retry import Outcome
from shared.secrets import SecretBox

ASKED_TOGETHER: Final = 1_000
"""Attempts that share one look at the webhooks' version."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request to make."""

    url: str
    body: bytes
    headers: dict[str, str]


class WebhookSender:
    """Posts deliveries to their webhooks, as `shared.pump` asks."""

    def __init__(self, webhooks: Webhooks, box: SecretBox, http: outbound.Sender) -> None:
        self._webhooks = webhooks
        self._box = box
        self._http = http
        self._asking: Gatherer[str, Webhook | None] = Gatherer(self._look_up, ASKED_TOGETHER)

    async def send(self, deliveries: Sequence[Delivery]) -> Outcome:
        """Sends one delivery; raises DeliveryError when there was no answer."""
        (delivery,) = deliveries
        webhook = await self._asking.ask(delivery.target)
        if webhook is None:
            raise DeliveryError("the webhook was deleted", permanent=True, label="config")
        # Redis' clock and not this machine's: a receiver refuses a signature that is minutes off.
        request = prepare(webhook, delivery, self._box, delivery.claimed / 1000)
        try:
            reply = await self._http.post(request.url, request.body, request.headers)
        except DeliveryError as error:
            error.permanent = error.permanent or delivery.meta == trial.META
            raise
        return judge(reply, only_once=delivery.meta == trial.META)

    async def _look_up(self, targets: Sequence[str]) -> list[Webhook | None]:
        known = await self._webhooks.current()
        return [known.get(int(target.partition(":")[2])) for target in targets]


def prepare(webhook: Webhook, delivery: Delivery, box: SecretBox, now: float) -> Prepared:
    """The request of an attempt at `now` (Unix seconds); its body is the payload, byte for byte."""
    body = delivery.payload.encode()
    try:
        secrets = signing_secrets(webhook, box, int(now * 1000))
    except ConfigError as error:
        # Retried: an operator can bring the key back. Unsigned it must not go out.
        raise DeliveryError(str(error), label="config") from None
    headers = signing.headers(delivery.type, delivery.event, str(webhook.id), body, secrets, int(now))
    return Prepared(webhook.url, body, headers)


def judge(reply: Reply, *, only_once: bool = False) -> Outcome:
    """What an answer means; redirects are not followed, so they are failures like any status but 2xx."""
    if 200 <= reply.status <= 299:
        return Outcome(reply.status, reply.body)
    words = f"The receiver answered {reply.status}"
    if 300 <= reply.status <= 399:
        words += ", and redirects are not followed: give the webhook the new URL"
    return Outcome(
        reply.status,
        reply.body,
        f"{words}.",
        permanent=only_once,
        retry_after=reply.retry_after,
        label="status",
    )

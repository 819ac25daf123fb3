"""What an attempt's result brings about: a webhook whose receiver is gone or keeps failing is disabled, and told of.

    ledger: the target is gone, or failing for 5 days ──disable──▶ record: inactive, untold ──tell──▶ event, told

Each step leaves behind what the next one needs, so a process may die between any two: `observe` takes them at once,
`make_good` finds what was left undone.
"""

import structlog

from services.webhooks import subscriptions
from services.webhooks.subscription import Disabled, Webhook
from shared import delivery_history, events, metrics, retry
from shared.connection import Store
from shared.errors import NotFound
from shared.events import NewEvent
from shared.pump import Report

log = structlog.get_logger(__name__)

GONE = "gone"
FAILING = "failing"
WORDS = {
    GONE: "its receiver answered 410 Gone",
    FAILING: "every delivery failed for 5 days",
}


async def observe(store: Store, report: Report) -> None:
    """Disables the webhook of a report of 410, or of a failure after 5 days without a success.

    The event about it never goes to that webhook. Dead letters are told by the ledger itself.
    """
    webhook_id = int(report.target.partition(":")[2])
    if report.outcome.gone:
        await _disable(store, webhook_id, GONE, report.state.failing_since)
    elif retry.should_disable(report.state.failing_since, report.state.now):
        await _disable(store, webhook_id, FAILING, report.state.failing_since)


async def make_good(store: Store, webhook: Webhook) -> None:
    """Does what a process that died after a record left undone: disables the webhook, tells that it is disabled."""
    (state,) = await delivery_history.stats(store, [webhook.target])
    if webhook.is_active and state.gone is not None:
        await _disable(store, webhook.id, GONE, state.failing_since)
    elif webhook.is_active and retry.should_disable(state.failing_since, state.last_triggered or 0):
        await _disable(store, webhook.id, FAILING, state.failing_since)
    elif webhook.untold:
        await _tell(store, webhook)


async def _disable(store: Store, webhook_id: int, reason: str, failing_since: int | None) -> None:
    if await subscriptions.disable(store, webhook_id, reason, failing_since):
        metrics.DISABLED.inc()
        log.warning("webhook.disabled", target=f"webhook:{webhook_id}", reason=reason)
        await _tell(store, await subscriptions.get(store, webhook_id))


async def _tell(store: Store, webhook: Webhook) -> None:
    """Emits `webhook.disabled`, then strikes it off the record; done twice it is one event, by its id."""
    told = webhook.untold
    if told is None:
        return
    await events.emit(store, [_event(webhook, told)])
    try:
        await subscriptions.told(store, webhook.id, told)
    except NotFound:
        log.info("webhook.deleted_meanwhile", target=webhook.target)


def _event(webhook: Webhook, disabled: Disabled) -> NewEvent:
    payload = {
        "webhook": {"id": webhook.id, "name": webhook.name, "event_type": webhook.event_type},
        "reason": disabled.reason,
        "message": f"The webhook {webhook.name} was switched off: {WORDS[disabled.reason]}.",
        "failing_since": events.iso(disabled.failing_since),
        "at": events.iso(disabled.at),
    }
    name = f"{events.OWN_IDS}disabled.{webhook.target}.{disabled.at}"
    return NewEvent("webhook.disabled", events.canonical(payload), name, about=webhook.target)

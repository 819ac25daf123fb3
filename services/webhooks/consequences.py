"""What an attempt's result brings about: webhooks that are disabled, and events that tell of it."""

import structlog

from services.webhooks import subscriptions, trial
from shared import events, metrics, retry
from shared.connection import Store
from shared.dead_letters import emit_dead_letters
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
    """Acts on what was recorded.

    1. A dead letter becomes a `delivery.dead_letter` event about its webhook; a failed test is none.
    2. 410, or 5 days without a success, disables the webhook, with a `webhook.disabled` event about it.
    Events that MishPulse emits about a webhook never go to that webhook.
    """
    if all(delivery.meta != trial.META for delivery in report.deliveries):
        await emit_dead_letters(store, report)
    if report.outcome.gone:
        await _disable(store, report, GONE)
    elif retry.should_disable(report.state.failing_since, report.state.now):
        await _disable(store, report, FAILING)


async def _disable(store: Store, report: Report, reason: str) -> None:
    webhook_id = int(report.target.partition(":")[2])
    if not await subscriptions.disable(store, webhook_id, reason):
        return
    metrics.DISABLED.inc()
    log.warning("webhook.disabled", target=report.target, reason=reason)
    webhook = await subscriptions.get(store, webhook_id)
    payload = {
        "webhook": {"id": webhook.id, "name": webhook.name, "event_type": webhook.event_type},
        "reason": reason,
        "message": f"The webhook {webhook.name} was switched off: {WORDS[reason]}.",
        "failing_since": events.iso(report.state.failing_since),
        "at": events.iso(webhook.updated_at),
    }
    name = f"{events.OWN_IDS}disabled.{report.target}.{webhook.updated_at}"
    await events.emit(
        store, [NewEvent("webhook.disabled", events.canonical(payload), name, about=report.target)]
    )

"""What is told of each attempt: one wide log line, and the metrics."""

from collections.abc import Sequence
from typing import Final

import structlog

from shared import metrics
from shared.claims import Recorded
from shared.deliveries import Delivery
from shared.retry import Decision, Outcome

WORDS: Final = {"success": "success", "retry": "retry", "dead": "failed"}

log = structlog.get_logger(__name__)


def tell(
    kind: str,
    message: Sequence[Delivery],
    outcome: Outcome,
    decisions: Sequence[Decision],
    recorded: Sequence[Recorded],
    seconds: float,
) -> None:
    """Tells of one message: a delivery, or a digest's members, whose first stands for all in the log."""
    first, fate = message[0], decisions[0]
    result = WORDS[fate.state] if recorded[0].accepted else "stale"
    metrics.ATTEMPTS.labels(kind, result).inc()
    metrics.ATTEMPT_SECONDS.labels(kind).observe(seconds)
    if not outcome.ok:
        metrics.ATTEMPT_FAILURES.labels(kind, outcome.label).inc()
    if len(message) > 1:
        metrics.DIGESTED.labels(kind).inc(len(message))
    for delivery, decision, answer in zip(message, decisions, recorded, strict=True):
        if answer.accepted:
            _count_end(kind, delivery, decision, answer.now)
    log.info(
        "delivery.attempt",
        target=first.target,
        id=first.id,
        event_id=first.event,
        type=first.type,
        members=len(message),
        attempt=first.attempt + 1,
        result=result,
        status=outcome.status,
        error=outcome.error,
        retry_in_ms=fate.delay_ms,
        duration_ms=round(seconds * 1000),
    )


def _count_end(kind: str, delivery: Delivery, decision: Decision, now: int) -> None:
    if decision.state == "success":
        metrics.DELIVERIES.labels(kind, "success").inc()
        metrics.DELIVERY_LATENCY.labels(kind).observe(max(0, now - delivery.at) / 1000)
    elif decision.state == "dead":
        metrics.DELIVERIES.labels(kind, "failed").inc()
        metrics.DEAD_LETTERS.labels(kind).inc()

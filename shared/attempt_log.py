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


def count_ends(
    kind: str, members: Sequence[Delivery], decisions: Sequence[Decision], recorded: Sequence[Recorded]
) -> None:
    """Counts those of a message, or of a part of it, that came to an end."""
    latencies, dead = [], 0
    for delivery, decision, answer in zip(members, decisions, recorded, strict=True):
        if answer.accepted and decision.state == "success":
            latencies.append(max(0, answer.now - delivery.at) / 1000)
        elif answer.accepted and decision.state == "dead":
            dead += 1
    if latencies:
        metrics.DELIVERIES.labels(kind, "success").inc(len(latencies))
        metrics.DELIVERY_LATENCY.labels(kind).observe_all(latencies)
    if dead:
        metrics.DELIVERIES.labels(kind, "failed").inc(dead)
        metrics.DEAD_LETTERS.labels(kind).inc(dead)

"""When an attempt is followed by another; pure.

An attempt ends as `success`, as `retry` after a wait, or as `dead`. The n-th failed attempt waits SCHEDULE[n - 1];
after the last wait's attempt there is no other, so a delivery has eight.
"""

from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final, Literal

from shared.errors import Failure

MINUTE: Final = 60
HOUR: Final = 3600

SCHEDULE: Final = (5, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR, 10 * HOUR)
"""Seconds between attempts: 27.6 hours in all, longer than a night without anybody at the receiver."""
ATTEMPTS: Final = len(SCHEDULE) + 1
JITTER: Final = 0.2
"""Each wait is stretched by a factor of 1 ± this, so that what failed together does not come back together."""
LONGEST_WAIT: Final = 24 * HOUR
"""Bounds an exact wait, against a destination that asks for years."""
GONE: Final = 410
DISABLE_AFTER_MS: Final = 5 * 24 * HOUR * 1000
"""A webhook without any success for this long is disabled."""

State = Literal["success", "retry", "dead"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an attempt came to: the HTTP status if there was one, `error` "" when nothing else went wrong.

    `body` is the beginning of the answer. `permanent`, `retry_after` (seconds), `exact` and
    `label` mean the same as in `DeliveryError`.
    """

    status: int | None = None
    body: str = ""
    error: str = ""
    permanent: bool = False
    retry_after: float | None = None
    exact: bool = False
    label: Failure = "other"

    @property
    def ok(self) -> bool:
        """2xx is success, and so is the end of a protocol without statuses that raised nothing."""
        return not self.error and (self.status is None or 200 <= self.status <= 299)

    @property
    def gone(self) -> bool:
        """Whether the destination said that it will never be back."""
        return self.status == GONE


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of the delivery; `delay_ms` counts for `retry` only.

    `hold_ms` is how long the whole target has to be left alone.
    """

    state: State
    delay_ms: int = 0
    hold_ms: int = 0


def decide(attempt: int, outcome: Outcome, jitter: float = 1.0) -> Decision:
    """What follows attempt number `attempt` (from 1); `jitter` is drawn by the caller from 1 ± JITTER.

    Redirects are failures because they are not followed; 410 and permanent errors are final.
    """
    if attempt < 1:
        raise ValueError("attempts are numbered from 1")
    if outcome.ok:
        return Decision("success")
    hold = _milliseconds(outcome.retry_after) if outcome.exact else 0
    if outcome.permanent or outcome.gone or attempt >= ATTEMPTS:
        return Decision("dead", hold_ms=hold)
    if hold:
        return Decision("retry", hold, hold)
    base = SCHEDULE[attempt - 1]
    if outcome.retry_after is None:
        return Decision("retry", round(base * jitter * 1000))
    return Decision("retry", round(min(max(outcome.retry_after, base), 2 * base) * 1000))


def _milliseconds(seconds: float | None) -> int:
    return round(min(max(seconds or 0, 0), LONGEST_WAIT) * 1000)


def parse_retry_after(value: str, now: float) -> float | None:
    """Seconds to wait by a Retry-After header (RFC 9110, 10.2.3), None when it says nothing usable.

    `now` is Unix time in seconds; a date in the past means no wait.
    """
    text = value.strip()
    if text.isascii() and text.isdigit():
        return float(text) if len(text) < 12 else float(LONGEST_WAIT)
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return None
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    return max(0.0, at.timestamp() - now)


def should_disable(failing_since: int | None, now: int) -> bool:
    """Whether a target that has failed without a success since then (ms) has failed for long enough."""
    return failing_since is not None and now - failing_since >= DISABLE_AFTER_MS

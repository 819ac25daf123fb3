"""The retry schedule: which attempt is followed by which wait, for every answer there is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import retry
from shared.retry import ATTEMPTS, SCHEDULE, Outcome, decide


@pytest.mark.parametrize("status", range(100, 600))
def test_every_http_status(status):
    """2xx is success, 410 is final, everything else is tried again, redirects too."""
    decision = decide(1, Outcome(status))
    if 200 <= status <= 299:
        assert decision.state == "success"
    elif status == 410:
        assert decision.state == "dead"
    else:
        assert decision == retry.Decision("retry", 5_000)


def test_there_are_eight_attempts_over_a_day():
    """5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 10 h, and then it is a dead letter."""
    failed = Outcome(500)
    waits = [decide(n, failed).delay_ms // 1000 for n in range(1, ATTEMPTS)]
    assert waits == [5, 300, 1800, 7200, 18_000, 36_000, 36_000]
    assert decide(ATTEMPTS, failed).state == "dead"
    assert decide(ATTEMPTS, Outcome(200)).state == "success"


@given(st.integers(1, ATTEMPTS - 1), st.floats(1 - retry.JITTER, 1 + retry.JITTER))
def test_jitter_stretches_each_wait_by_a_fifth_at_most(attempt, jitter):
    """The wait stays within 20 % of its base."""
    delay = decide(attempt, Outcome(error="timeout"), jitter).delay_ms / 1000
    assert 0.8 * SCHEDULE[attempt - 1] - 0.001 <= delay <= 1.2 * SCHEDULE[attempt - 1] + 0.001


@given(st.integers(1, ATTEMPTS - 1), st.floats(0, 1e9), st.floats(0.8, 1.2))
def test_retry_after_is_honoured_within_twice_the_base(attempt, asked, jitter):
    """A destination may stretch a wait to twice its base, and shorten none."""
    base = SCHEDULE[attempt - 1]
    delay = decide(attempt, Outcome(503, retry_after=asked), jitter).delay_ms / 1000
    assert base <= delay <= 2 * base
    if base <= asked <= 2 * base:
        assert delay == pytest.approx(asked, abs=0.001)


def test_an_exact_wait_is_kept_and_holds_the_whole_target():
    """Telegram's retry_after is kept to the second, and nothing else goes there meanwhile."""
    decision = decide(1, Outcome(429, retry_after=37, exact=True), 1.2)
    assert decision == retry.Decision("retry", 37_000, 37_000)


def test_an_exact_wait_has_a_bound():
    """A wait of years becomes a day."""
    assert decide(1, Outcome(429, retry_after=1e12, exact=True)).delay_ms == 86_400_000


def test_a_permanent_error_is_final():
    """A wrong chat id will not be right tomorrow."""
    assert decide(1, Outcome(400, error="chat not found", permanent=True)).state == "dead"


def test_an_error_outweighs_a_good_status():
    """A 200 whose body says that it failed is a failure; no status and no error is success."""
    assert decide(1, Outcome(200, error="ok: false")).state == "retry"
    assert decide(1, Outcome()).state == "success"


def test_attempts_are_numbered_from_one():
    """Attempt 0 is a mistake of the caller."""
    with pytest.raises(ValueError, match="from 1"):
        decide(0, Outcome(500))


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120.0),
        (" 0 ", 0.0),
        ("Thu, 01 Jan 1970 00:01:40 GMT", 90.0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
        ("9" * 40, 86_400.0),
        ("-5", None),
        ("soon", None),
        ("", None),
        ("٣", None),
    ],
)
def test_retry_after_headers(value, seconds):
    """Seconds or an HTTP date; anything else says nothing."""
    assert retry.parse_retry_after(value, 10.0) == seconds


def test_five_days_of_failure_disable():
    """Not a moment earlier, and not without failures."""
    assert not retry.should_disable(None, 10**15)
    assert not retry.should_disable(1000, 1000 + retry.DISABLE_AFTER_MS - 1)
    assert retry.should_disable(1000, 1000 + retry.DISABLE_AFTER_MS)

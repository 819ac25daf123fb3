"""How much of its time a monitor was up."""

from hypothesis import given
from hypothesis import strategies as st

from services.admin.uptime import DAY, Incident, parse_incident, percent, split, up_and_down, with_current

HOUR = 3_600_000
NOW = 100 * DAY + 6 * HOUR


def test_a_history_is_split_into_days_and_incidents():
    """Fields of either kind are told apart; what is neither is left out."""
    days, incidents = split(
        "m1",
        {
            "100:alive": "5",
            "100:dead": "7",
            "i:2": "10|20|dead|silence",
            "i:9": "30||error|heartbeat",
            "i:10": "40|90|error|heartbeat|50|error",
            "i:11": "60||dead|silence||error",
            "x": "y",
        },
    )
    assert days == {100: {"alive": 5, "dead": 7}}
    assert [(one.id, one.opened, one.closed, one.status, one.reason) for one in incidents[2:]] == [
        ("m1.9", 30, None, "error", "heartbeat"),
        ("m1.2", 10, 20, "dead", "silence"),
    ]
    assert [(one.status, one.worst, one.last, one.died) for one in incidents] == [
        ("dead", "dead", "error", None),
        ("error", "dead", "error", 50),
        ("error", "error", "error", None),
        ("dead", "dead", "dead", None),
    ]
    assert parse_incident("m1.1", "") is None


def test_alive_and_warning_are_up_error_and_dead_are_down_new_and_paused_are_neither():
    """Only the four statuses count."""
    days = {100: {"alive": HOUR, "warning": HOUR, "error": HOUR, "dead": HOUR, "paused": 2 * HOUR}}
    assert up_and_down(days, (), NOW - DAY, NOW) == (2 * HOUR, 2 * HOUR)
    assert percent(0, 0) is None


def test_the_present_status_counts_until_now():
    """What the rollup has not got yet is added, day by day; a new monitor has no time."""
    days = with_current({99: {"alive": HOUR}}, "alive", NOW - 8 * HOUR, NOW)
    assert days == {99: {"alive": 3 * HOUR}, 100: {"alive": 6 * HOUR}}
    assert with_current({}, "new", NOW - HOUR, NOW) == {}


def test_a_period_that_begins_within_a_day_counts_the_rest_of_it():
    """The incidents tell on which side of the beginning the downtime lies."""
    days = {99: {"alive": 22 * HOUR, "dead": 2 * HOUR}, 100: {"alive": 6 * HOUR}}
    before = [Incident("m.1", 99 * DAY, 99 * DAY + 2 * HOUR, "dead", "silence")]
    assert up_and_down(days, before, NOW - DAY, NOW) == (24 * HOUR, 0)
    across = [Incident("m.1", 99 * DAY + 5 * HOUR, 99 * DAY + 7 * HOUR, "dead", "silence")]
    assert up_and_down(days, across, NOW - DAY, NOW) == (23 * HOUR, HOUR)


def test_a_hundred_percent_means_never_down():
    """Percentages are rounded down."""
    assert percent(90 * DAY, 1) == 99.999
    assert percent(90 * DAY, 0) == 100


@given(
    changes=st.lists(
        st.tuples(
            st.integers(min_value=1, max_value=3 * DAY),
            st.sampled_from(["alive", "warning", "error", "dead", "paused"]),
        ),
        max_size=30,
    ),
    period=st.sampled_from([DAY, 7 * DAY, 30 * DAY]),
)
def test_periods_agree_with_the_intervals_that_they_are_made_from(changes, period):
    """Downtime is exact, and uptime too for a monitor that was never paused."""
    days, incidents, down_since, at = {}, [], None, NOW - sum(length for length, _ in changes)
    down = up = paused = 0
    for number, (length, status) in enumerate(changes):
        bad = status in {"error", "dead"}
        if bad and down_since is None:
            down_since = at
        if not bad and down_since is not None:
            incidents.append(Incident(f"m.{number}", down_since, at, "dead", ""))
            down_since = None
        days = with_current(days, status, at, at + length)
        counted = max(0, at + length - max(at, NOW - period))
        down, up = down + counted * bad, up + counted * (status in {"alive", "warning"})
        paused += status == "paused"
        at += length
    if down_since is not None:
        incidents.append(Incident("m.0", down_since, None, "dead", ""))
    told_up, told_down = up_and_down(days, incidents, NOW - period, NOW)
    assert told_down == down
    assert told_up == up if not paused else up <= told_up <= up + DAY

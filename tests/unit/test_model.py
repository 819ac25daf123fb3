"""The monitor's pure rules: cron across daylight-saving changes, slugs, cut messages, credited deadlines."""

import time
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.watchdog.transitions import Rearm, judge
from shared import model
from shared.model import Monitor


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


@pytest.mark.parametrize(
    ("schedule", "timezone", "after", "expected"),
    [
        ("0 3 * * *", "UTC", "2026-03-28 12:00", "2026-03-29 03:00"),
        ("0 3 * * *", "Europe/Berlin", "2026-03-28 12:00", "2026-03-29 01:00"),
        ("30 2 * * *", "Europe/Berlin", "2026-03-28 12:00", "2026-03-29 01:00"),
        ("30 2 * * *", "Europe/Berlin", "2026-10-24 12:00", "2026-10-25 00:30"),
        ("30 2 * * *", "Europe/Berlin", "2026-10-25 00:45", "2026-10-26 01:30"),
        ("*/5 * * * *", "Asia/Kolkata", "2026-01-01 00:02", "2026-01-01 00:05"),
        ("0 0 29 2 *", "UTC", "2026-03-01 00:00", "2028-02-29 00:00"),
    ],
)
def test_cron_is_right_across_daylight_saving_changes(
    schedule: str, timezone: str, after: str, expected: str
) -> None:
    """A run in the skipped hour comes right after it; a run in the repeated hour comes once."""
    assert model.next_run(schedule, timezone, ms(after)) == ms(expected)


@pytest.mark.parametrize(
    ("schedule", "timezone"),
    [
        ("", ""),
        ("* * * *", ""),
        ("61 * * * *", ""),
        ("0 0 30 2 *", ""),
        ("* * * * *", "Mars/Olympus"),
        ("x" * 5000, ""),
    ],
)
def test_a_schedule_that_never_fires_is_refused_with_a_sentence(schedule: str, timezone: str) -> None:
    """Both a bad expression and a bad time zone say what is wrong."""
    with pytest.raises(ValueError, match=r"cron schedule|time zone"):
        model.check_schedule(schedule, timezone)


def cron_monitor(seen: int, schedule: str = "0 * * * *", grace: int = 60_000) -> Monitor:
    return Monitor(
        "m",
        "m",
        "m",
        "",
        "alive",
        1,
        0,
        0,
        300_000,
        grace,
        schedule,
        "UTC",
        "",
        (),
        "*",
        seen,
        None,
        None,
        None,
        None,
    )


def test_a_cron_monitor_that_was_heard_lives_until_its_next_time_plus_grace() -> None:
    """The deadline is the first time after the last heartbeat, plus grace."""
    monitor = cron_monitor(ms("2026-05-01 10:30"))
    assert judge(monitor, ms("2026-05-01 10:31"), []) == Rearm(ms("2026-05-01 11:01"), monitor.seen or 0)
    assert judge(monitor, ms("2026-05-01 11:02"), []) is None


def test_a_gap_moves_a_cron_deadline_to_the_next_time_after_it() -> None:
    """Blindness from 10:50 to 11:20 excuses the run of 11:00; the next one counts."""
    monitor = cron_monitor(ms("2026-05-01 10:30"))
    gap = (ms("2026-05-01 10:50"), ms("2026-05-01 11:20"))
    assert judge(monitor, ms("2026-05-01 11:21"), [gap]) == Rearm(ms("2026-05-01 12:01"), gap[1])
    assert judge(monitor, ms("2026-05-01 12:02"), [gap]) is None


def test_a_gap_after_the_deadline_excuses_nothing() -> None:
    """Who missed 11:01 before we went blind at 11:10 is dead."""
    monitor = cron_monitor(ms("2026-05-01 10:30"))
    gap = (ms("2026-05-01 11:10"), ms("2026-05-01 11:20"))
    assert judge(monitor, ms("2026-05-01 11:21"), [gap]) is None


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("Api Worker", "api-worker"),
        ("  Ünïcode — Café! ", "unicode-cafe"),
        ("db_backup", "db_backup"),
        ("Привет", ""),
        ("a" * 300, "a" * 100),
    ],
)
def test_a_slug_is_made_of_the_name(name: str, slug: str) -> None:
    """ASCII letters, digits, hyphens and underscores, or nothing."""
    assert model.slugify(name) == slug
    assert not slug or model.SLUG.fullmatch(slug)


@given(st.text(max_size=12_000))
def test_a_message_is_cut_between_characters(message: str) -> None:
    """At most 10,000 bytes of valid UTF-8, and a prefix of what was sent."""
    cut = model.cut_message(message)
    assert len(cut.encode()) <= model.MESSAGE_BYTES
    assert message.encode("utf-8", "replace").decode().startswith(cut)


GAPS = st.lists(
    st.tuples(st.integers(0, 10_000), st.integers(1, 2_000)).map(lambda gap: (gap[0], gap[0] + gap[1])),
    max_size=8,
)


@given(GAPS, st.integers(0, 10_000), st.integers(1, 5_000))
def test_a_credited_deadline_never_moves_back_and_ends_clear_of_gaps(
    gaps: list[tuple[int, int]], base: int, window: int
) -> None:
    """Whatever the gaps: the deadline only grows, and after the last one that counts it is a full window away."""
    deadline, counted_from = model.credited(base + window, base, gaps, window)
    assert deadline >= base + window
    assert counted_from >= base
    assert deadline >= counted_from + window


def test_an_id_tells_when_it_was_made() -> None:
    """To the millisecond; a foreign id tells nothing."""
    before = int(time.time() * 1000)
    assert before <= model.made_at(model.new_monitor_id()) <= int(time.time() * 1000)
    assert model.made_at("m00001") == model.made_at("l" * 14) == 0


def test_ids_sort_by_the_time_they_were_made() -> None:
    """So that a list by id is a list by age."""
    assert len({model.new_monitor_id() for _ in range(100)}) == 100
    assert model.new_monitor_id()[:9] <= model.new_monitor_id()[:9]

"""The storm digest's rules: when a channel is told one by one, and when all at once."""

from hypothesis import given
from hypothesis import strategies as st

from shared.burst import GATHER_MS, SINGLES, WINDOW_MS, Burst, decide, repeat

T = 1_000_000


def test_five_messages_go_one_by_one():
    """In calm weather nobody waits for a digest."""
    step = decide(Burst(), 5, 20, T)
    assert (step.singles, step.digest, step.wait_until) == (5, False, 0)
    assert step.after.times == (T,) * 5
    assert step.after.digest_at == 0


def test_the_sixth_begins_a_storm():
    """What has no room waits 2 s, so that the storm gathers."""
    after = decide(Burst(), 5, 20, T).after
    step = decide(after, 1, 20, T + 500)
    assert (step.singles, step.digest, step.wait_until) == (0, False, T + 500 + GATHER_MS)


def test_a_crowd_gets_its_room_and_then_a_digest():
    """Five singles at once, the rest in one digest after 2 s."""
    first = decide(Burst(), 37, 20, T)
    assert (first.singles, first.wait_until) == (5, T + GATHER_MS)
    waiting = decide(first.after, 32, 20, T + 1_000)
    assert (waiting.singles, waiting.digest, waiting.wait_until) == (0, False, T + GATHER_MS)
    digest = decide(waiting.after, 40, 20, T + GATHER_MS)
    assert digest.digest
    assert digest.after.digest_at == T + GATHER_MS + WINDOW_MS


def test_a_second_digest_is_ten_seconds_later():
    """However many are due meanwhile."""
    storm = Burst("1", (T,), T + WINDOW_MS, T)
    assert not decide(storm, 500, 20, T + 9_999).digest
    assert decide(storm, 500, 20, T + WINDOW_MS).digest


def test_calm_returns_when_all_that_is_due_has_room():
    """Fewer than five messages in ten seconds, and no backlog: one by one again."""
    storm = Burst("1", (T,), T + WINDOW_MS, T)
    step = decide(storm, 4, 20, T + 3_000)
    assert (step.singles, step.after.digest_at) == (4, 0)


def test_a_new_storm_soon_after_a_digest_waits_ten_seconds_from_it():
    """Calm in between does not bring two digests within ten seconds."""
    calm = Burst("1", (T, T + 1, T + 1, T + 1, T + 1), 0, T)
    assert decide(calm, 9, 20, T + 2_000).wait_until == T + WINDOW_MS


def test_no_place_in_flight_no_digest():
    """A digest is a message too: it waits for a place."""
    step = decide(Burst("1", (), T, 0), 99, 0, T + 1)
    assert (step.singles, step.digest) == (0, False)
    assert step.after.digest_at == T


def test_a_wait_ends_early_when_room_comes_back():
    """One straggler of a storm is told when the window has room, not at the next digest."""
    storm = Burst("1", (T, T, T, T, T + 2_000), T + 12_000, T + 2_000)
    assert decide(storm, 1, 20, T + 5_000).wait_until == T + WINDOW_MS


@given(st.lists(st.tuples(st.integers(1, 4_000), st.integers(0, 12)), max_size=60))
def test_never_more_than_six_messages_in_ten_seconds(arrivals):
    """Whatever arrives when: five singles, and at most a digest beside them, in any ten seconds."""
    burst, now, backlog, told = Burst(), T, 0, []
    for gap, count in arrivals:
        now += gap
        backlog += count
        if not backlog:
            continue
        step = decide(burst, backlog, 20, now)
        told += [now] * (1 if step.digest else step.singles)
        backlog -= backlog if step.digest else step.singles
        burst = step.after
        assert sum(1 for t in told if t > now - WINDOW_MS) <= SINGLES + 1
        assert backlog == 0 or step.wait_until > now


def test_what_is_sent_again_takes_room_and_waits_for_none():
    """Old messages leave the window; the digest keeps its time."""
    before = Burst("1", (T - WINDOW_MS, T - 1), T + 500, T - 4_000)
    step = repeat(before, 2, T)
    assert (step.singles, step.digest, step.wait_until) == (2, False, 0)
    assert step.after == Burst("1", (T - 1, T, T), T + 500, T - 4_000)

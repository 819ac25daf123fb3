"""What a worker may claim: what is bound first and as it was, then what `shared.burst` allows."""

from shared.burst import WINDOW_MS, Burst
from shared.orders import ALONE, CLAIMS_PER_CALL, FREE, UNCAPPED, WAITING, Order, Peek, Want, calls, order

NOW = 1_800_000_000_000
WANT = Want("channel:1", digest=True)
STORM = Burst("1", (NOW,) * 5, NOW + 1_000, NOW - 9_000)


def seen(marks: list[int], *, places: int = 20, burst: Burst = Burst(), due: int = 0) -> Peek:  # noqa: B008 - frozen
    """A look at a target whose numbers bear these marks."""
    numbers = [str(number) for number in range(len(marks))]
    return Peek(NOW, due or marks.count(FREE), places, burst, numbers, marks)


def test_a_webhook_is_given_what_has_a_place() -> None:
    """Each of its events is a message of its own."""
    peek = Peek(NOW, 0, 3, Burst(), ["1", "2", "3", "4"])
    assert order(Want("webhook:1", 2), peek).numbers == ["1", "2"]
    assert order(Want("webhook:1"), peek).numbers == ["1", "2", "3"]


def test_what_was_alone_goes_first_and_alone() -> None:
    """In the middle of a storm too: a receiver may have it already, and new messages have to wait for room."""
    found = order(WANT, seen([FREE, ALONE, NOW - 5_000, ALONE], burst=STORM))
    assert (found.numbers, found.mark, found.digest) == (["1", "3"], ALONE, 0)
    assert found.step is not None
    assert found.step.after.times == (NOW,) * 7
    assert found.step.after.digest_at == STORM.digest_at


def test_it_takes_no_more_places_than_there_are() -> None:
    """With none left nothing is claimed, and nothing else is decided either."""
    assert order(WANT, seen([ALONE, ALONE], places=1)).numbers == ["0"]
    assert order(WANT, seen([ALONE, ALONE], places=0)).numbers == []


def test_a_digest_goes_again_as_one_message() -> None:
    """The oldest first, whatever the counters say."""
    older, newer = NOW - 20_000, NOW - 10_000
    found = order(WANT, seen([newer, older, FREE, older], burst=STORM))
    assert (found.numbers, found.mark, found.digest, found.cap) == (["1", "3"], older, older, UNCAPPED)


def test_a_digest_that_is_not_whole_holds_back_nothing_else() -> None:
    """Its members wait; what is free and in sight is told."""
    found = order(WANT, seen([WAITING, FREE, WAITING, FREE]))
    assert (found.numbers, found.mark) == (["1", "3"], FREE)


def test_a_target_that_only_waits_is_looked_at_soon() -> None:
    """And not again and again meanwhile."""
    found = order(WANT, seen([WAITING, WAITING]))
    assert (found.numbers, found.step) == ([], None)
    assert NOW < found.look_again <= NOW + 1_000


def test_a_new_digest_is_named_after_its_claim() -> None:
    """Of what is free alone."""
    due = Burst("1", (), NOW - 1, NOW - WINDOW_MS)
    found = order(WANT, seen([FREE] * 8 + [WAITING], burst=due))
    assert (found.digest, found.mark, len(found.numbers)) == (NOW, FREE, 8)


def test_orders_share_a_call_up_to_its_share() -> None:
    """No call claims more than keeps it short."""
    many = [Order(WANT, ["1"] * 20) for _ in range(5)]
    assert [len(part) for part in calls(many)] == [2, 2, 1]
    assert all(sum(len(one.numbers) for one in part) <= CLAIMS_PER_CALL for part in calls(many))

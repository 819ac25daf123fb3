"""A webhook's times of activity, its record, and its secrets."""

import json

from hypothesis import given
from hypothesis import strategies as st

from services.webhooks.subscription import (
    NOW,
    SPANS_KEPT,
    Webhook,
    covered,
    dumps,
    loads,
    resealed,
    sealed,
    signing_secrets,
    switched,
)
from shared.events import Event
from shared.secrets import SecretBox


def webhook(**changes) -> Webhook:
    return Webhook(**{"id": 3, "name": "x", "url": "http://a/", "event_type": "a.*", **changes})


def written(record: Webhook, now: int) -> Webhook:
    """The webhook as it is once the server's time was put in."""
    return loads(record.id, str(now).join(dumps(record, "mark")))


def test_it_is_active_after_it_was_switched_on_until_it_was_switched_off():
    """The ms of switching counts as active either way: what was sent after the answer may be of the same ms."""
    first = written(webhook(), 100)
    off = written(switched(first, active=False, reason="gone"), 200)
    on = written(switched(off, active=True), 300)
    assert [first.was_active(at) for at in (99, 100, 10**15)] == [False, True, True]
    assert [off.was_active(at) for at in (99, 100, 200, 201)] == [False, True, True, False]
    assert [on.was_active(at) for at in (200, 201, 299, 300)] == [True, False, False, True]
    assert (off.is_active, off.disabled_reason, on.disabled_reason) == (False, "gone", "")
    assert switched(on, active=True) is on


@given(
    st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)).map(sorted).map(tuple), max_size=6),
    st.integers(0, 50),
    st.integers(0, 50),
)
def test_covered_time_counts_as_active(spans: list, start: int, end: int):
    """Whatever the spans are: it is active then where it was active before or the cover reaches, nowhere else."""
    start, end = min(start, end), max(start, end)
    before = webhook(spans=tuple(spans))
    after = covered(before, start, end)
    for at in range(52):
        assert after.was_active(at) == (before.was_active(at) or start <= at <= end)


def test_a_webhook_that_flips_for_ever_keeps_its_record_small():
    """The oldest times go: the log reaches back 7 days only."""
    found = written(webhook(), 1)
    for now in range(2, 500):
        found = written(switched(found, active=not found.is_active), now)
    assert len(found.spans) <= SPANS_KEPT
    assert found.was_active(10**15) == found.is_active


@given(st.text(max_size=20), st.text(max_size=20))
def test_a_record_comes_back_as_it_was(name: str, description: str):
    """With the server's time wherever NOW stood, and nowhere else."""
    made = webhook(name=name, description=description, created_at=NOW, updated_at=5)
    parts = dumps(made, "5e9c-no-name-has-this")
    found = loads(3, "77".join(parts))
    assert (found.name, found.description, found.created_at, found.updated_at) == (name, description, 77, 5)
    assert found.spans == ((77, None),)


def test_unknown_fields_of_a_newer_version_are_left_out():
    """A rollback can still read its data."""
    text = "1".join(dumps(webhook(), "mark"))
    assert loads(3, json.dumps({**json.loads(text), "new": 1})).name == "x"


def test_it_never_wants_an_event_about_itself():
    """Others' are wanted."""
    event = Event("e", "a.b", 0, "1-0", 0, {"about": "webhook:3"})
    assert not webhook().wants(event)
    assert webhook(id=4).wants(event)
    assert not webhook(id=4, event_type="b.*").wants(event)


def test_secrets_open_under_the_new_key_once_resealed():
    """Rotation of the key: new in front, reseal, drop the old."""
    old, new = b"o" * 32, b"n" * 32
    both = SecretBox([new, old])
    before = webhook(secret=sealed(3, "s", SecretBox([old])), old_secret=sealed(3, "t", SecretBox([old])))
    before = webhook(secret=before.secret, old_secret=before.old_secret, old_secret_until=10)
    after = resealed(before, both)
    assert signing_secrets(after, SecretBox([new]), 5) == ["s", "t"]
    assert resealed(after, both) == after

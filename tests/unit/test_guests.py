"""Who may listen: failures per address, origins of ours, messages that are pings."""

import json

import pytest

from services.webhooks.guests import Failures, is_ours
from services.webhooks.live_messages import event_text, is_ping
from shared.events import Event


def test_five_failures_within_a_minute_are_too_many():
    """Per address; a minute after the first of them there is room again."""
    now = [0.0]
    failures = Failures(lambda: now[0])
    for _ in range(5):
        assert not failures.too_many("a")
        failures.note("a")
        now[0] += 10
    assert failures.too_many("a")
    assert not failures.too_many("b")
    now[0] = 60.0
    assert not failures.too_many("a")


def test_addresses_are_forgotten_when_there_are_too_many():
    """Memory stays bounded: the longest unseen goes first."""
    failures = Failures(lambda: 0.0)
    for number in range(10_010):
        failures.note(f"a{number}")
    assert len(failures._times) == 10_000


@pytest.mark.parametrize(
    ("origin", "ours"),
    [
        ("http://host:8080", True),
        ("https://HOST:8080", True),
        ("https://pulse.example", True),
        ("https://pulse.example:444", False),
        ("https://host", False),
        ("https://host:8080.evil.example", False),
        ("null", False),
        ("", False),
        ("file://host:8080", False),
    ],
)
def test_an_origin_is_ours_by_its_host_or_the_public_url(origin: str, ours: bool):
    """Anything else is somebody else's page."""
    assert is_ours(origin, "host:8080", "https://pulse.example") is ours


@pytest.mark.parametrize("text", ['{"type": "ping"}', ' {"x": 1, "type":"ping"} '])
def test_a_ping_is_understood(text: str):
    assert is_ping(text)


@pytest.mark.parametrize(
    "text", [None, "", "ping", '"ping"', '["ping"]', '{"type": "pings"}', '{"type": ["ping"]}']
)
def test_all_else_is_none(text: str | None):
    assert not is_ping(text)


def test_an_event_is_valid_json_with_its_payload_spliced_in():
    """Type and id may hold anything; the payload's text is what receivers get."""
    fields = {"payload": '{"n": 123456789012345678901234567890}'}
    text = event_text(Event('i"d', "a.b", 1_700_000_000_000, "1-0", 0, fields), ((1, 0),))
    assert '"payload": {"n": 123456789012345678901234567890}' in text
    assert json.loads(text)["id"] == 'i"d'

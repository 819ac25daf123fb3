import asyncio
import hashlib
import hmac
import time

import pytest
from recorder import Answer

from mishpulse_client import AsyncEvents, Events


def test_an_event_is_signed_with_the_api_key(server):
    """The event is posted to /events with an id of its own, signed over the raw body."""
    server.answers = [Answer(202)]
    event_id = Events(server.url, "key").send("user.created", {"id": 10**29, "name": "Аня"})
    (request,) = server.requests
    assert (request.method, request.path) == ("POST", "/events")
    assert request.json == {"type": "user.created", "payload": {"id": 10**29, "name": "Аня"}, "id": event_id}
    expected = hmac.new(b"key", request.body, hashlib.sha256).hexdigest()
    assert request.headers["x-pulse-signature"] == f"sha256={expected}"


def test_a_retry_keeps_the_id(server):
    """The server sees the same id twice and accepts it once."""
    server.answers = [Answer(503), Answer(202)]
    assert Events(server.url, "key").send("a.b", {}, id="mine") == "mine"
    assert [request.json["id"] for request in server.requests] == ["mine", "mine"]


@pytest.mark.parametrize("payload", [{"x": object()}, {"x": float("nan")}, None, 5])
def test_a_payload_that_is_no_json_is_a_warning(server, payload, warnings):
    """Nothing is sent and nothing raised."""
    assert Events(server.url, "key").send("a.b", payload) is None
    assert (len(warnings()), server.requests) == (1, [])


def test_no_key_and_no_server_are_warnings(nowhere, warnings):
    """Neither raises."""
    assert Events(nowhere, None).send("a.b", {}) is None
    assert Events(nowhere, "key").send("a.b", {}) is None
    assert len(warnings()) == 2


def test_asyncio_twin(server):
    """Awaited, the same, within its timeout."""

    async def program():
        events = AsyncEvents(server.url, "key", timeout=0.2)
        assert await events.send("a.b", {}, id="1") == "1"
        server.hang()
        began = time.monotonic()
        assert await events.send("a.b", {}) is None
        assert time.monotonic() - began < 1.2

    asyncio.run(program())

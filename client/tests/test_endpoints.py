import asyncio
import json
import time
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest
from waiting import wait_until

from mishpulse_client import Telemetry, asgi, wsgi


def make(server, **changes):
    settings = {"url": server.url, "secret": "s", "collect": lambda: {"domain": "shop.example"}, **changes}
    return Telemetry(**settings)


def call_asgi(application, **scope):
    sent = []

    async def send(message):
        sent.append(message)

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    asyncio.run(application({"type": "http", "method": "POST", "path": "/", **scope}, receive, send))
    return sent[0]["status"], dict(sent[0]["headers"]), sent[1]["body"]


def call_wsgi(application, method="GET"):
    environ = {"REQUEST_METHOD": method, "QUERY_STRING": ""}
    setup_testing_defaults(environ)
    answer = []
    result = validator(application)(environ, lambda status, headers, _=None: answer.append((status, headers)))
    body = b"".join(result)
    result.close()
    return answer[0][0], body


@pytest.mark.parametrize("kind", ["asgi", "wsgi"])
def test_the_endpoint_answers_at_once_and_sends(server, kind):
    """The front end has its `{"status": "ok"}` while the server still hangs; the telemetry goes its way."""
    server.hang()
    telemetry = make(server)
    began = time.monotonic()
    if kind == "asgi":
        status, headers, body = call_asgi(asgi(telemetry))
        assert (status, headers[b"content-type"]) == (200, b"application/json")
    else:
        status, body = call_wsgi(wsgi(telemetry))
        assert status == "200 OK"
    assert time.monotonic() - began < 1
    assert json.loads(body) == {"status": "ok"}
    assert body == b'{"status": "ok"}'
    wait_until(lambda: server.requests, "the telemetry was posted")
    server.released.set()
    wait_until(lambda: telemetry.counts().sent, "its success was counted")


@pytest.mark.parametrize("fault", ["no secret", "no thread", "broken collect", "no telemetry"])
def test_the_answer_is_the_same_whatever_happens(server, monkeypatch, fault, warnings):
    """No fault of ours reaches the front end."""
    telemetry = make(server)
    if fault == "no secret":
        telemetry = make(server, secret=None)
    elif fault == "broken collect":
        telemetry = make(server, collect=lambda: 1 / 0)
    elif fault == "no telemetry":
        telemetry = None
    application, other = asgi(telemetry), wsgi(telemetry)
    if fault == "no thread":

        def refuse(*_, **__):
            raise RuntimeError("can't start new thread")

        monkeypatch.setattr("mishpulse_client.telemetry.threading.Thread", refuse)
    assert call_asgi(application)[0] == 200
    assert call_wsgi(other) == ("200 OK", b'{"status": "ok"}')
    wait_until(warnings, "a warning says what is wrong")


def test_head_has_no_body(server):
    """HEAD is answered without the body."""
    assert call_asgi(asgi(make(server)), method="HEAD")[2] == b""
    assert call_wsgi(wsgi(make(server)), "HEAD") == ("200 OK", b"")


def test_lifespan_and_websocket_are_answered(server):
    """As the only application of a server it starts, stops, and turns WebSockets away."""

    async def run(kind, messages):
        sent = []

        async def send(message):
            sent.append(message["type"])

        async def receive():
            return {"type": messages.pop(0)}

        await asgi(make(server))({"type": kind}, receive, send)
        return sent

    spans = ["lifespan.startup", "lifespan.shutdown"]
    assert asyncio.run(run("lifespan", spans)) == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert asyncio.run(run("websocket", ["websocket.connect"])) == ["websocket.close"]
    assert server.requests == []

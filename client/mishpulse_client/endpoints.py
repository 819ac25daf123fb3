"""Endpoints that a front end calls and forgets: they answer at once and run the telemetry behind its back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .quietly import warn

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from .telemetry import Telemetry

    Scope = dict[str, Any]
    Receive = Callable[[], Awaitable[dict[str, Any]]]
    Send = Callable[[dict[str, Any]], Awaitable[None]]

ANSWER = b'{"status": "ok"}'
HEADERS = (
    ("Content-Type", "application/json"),
    ("Content-Length", str(len(ANSWER))),
    ("Cache-Control", "no-store"),
)


def asgi(telemetry: Telemetry) -> Callable[[Scope, Receive, Send], Awaitable[None]]:
    """An ASGI application: 200 `{"status": "ok"}` to every request, whatever becomes of the telemetry."""

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _live(receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1000})
        else:
            _begin(telemetry)
            headers = [(name.lower().encode(), value.encode()) for name, value in HEADERS]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            body = b"" if scope.get("method") == "HEAD" else ANSWER
            await send({"type": "http.response.body", "body": body})

    return application


def wsgi(
    telemetry: Telemetry,
) -> Callable[[dict[str, Any], Callable[[str, list[tuple[str, str]]], Any]], Iterable[bytes]]:
    """A WSGI application: 200 `{"status": "ok"}` to every request, whatever becomes of the telemetry."""

    def application(
        environ: dict[str, Any], start_response: Callable[[str, list[tuple[str, str]]], Any]
    ) -> Iterable[bytes]:
        _begin(telemetry)
        start_response("200 OK", list(HEADERS))
        return [b"" if environ.get("REQUEST_METHOD") == "HEAD" else ANSWER]

    return application


def _begin(telemetry: Telemetry) -> None:
    try:
        telemetry.send_in_background()
    except Exception as error:  # noqa: BLE001 - the answer is the same whatever happens
        warn("telemetry not sent", error)


async def _live(receive: Receive, send: Send) -> None:
    """ASGI's lifespan protocol: nothing to set up, nothing to take down."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return

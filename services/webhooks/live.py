"""`/ws`: live events (CONTRACT 5), as a plain ASGI app, for each message passes through here once per client."""

import asyncio
from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie
from typing import Any, Final
from urllib.parse import parse_qs

import structlog
from starlette.types import Receive, Scope, Send

from services.webhooks import cursor, live_messages
from services.webhooks.cursor import Vector
from services.webhooks.guests import Asked, Failures, Guest, Refusal, Sessions, admit
from services.webhooks.hub import Hub
from services.webhooks.live_client import Client, Ending, Patterns
from shared import metrics
from shared.connection import Store, is_away
from shared.patterns import check_patterns
from shared.settings import Settings
from shared.web import client_address

CLOSE_WITHIN: Final = 30.0
"""Seconds that a connection which takes nothing more is given to take our close."""
MAX_REASON: Final = 120
"""A close frame holds 123 bytes of reason."""

FULL: Final = Ending(1013, "too many clients here: try again later", "full")
AWAY: Final = Ending(1013, "the store is not available: try again", "unavailable")

log = structlog.get_logger(__name__)


class Live:
    """The WebSocket endpoint of one process. `sessions` finds the guest behind the cookies of our own pages."""

    def __init__(self, store: Store, settings: Settings, sessions: Sessions | None = None) -> None:
        self.hub = Hub(store)
        self._store = store
        self._settings = settings
        self._sessions = sessions
        self._failures = Failures()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection from its handshake to its end."""
        query = parse_qs(scope["query_string"].decode("latin-1"))
        # Whoever logs this connection after us logs it without its token.
        scope["query_string"] = b""
        await receive()
        found = await self._admit(scope, query)
        if isinstance(found, Refusal):
            await self._refuse(scope, send, found)
            return
        await send({"type": "websocket.accept"})
        try:
            patterns, after = self._wishes(query)
        except ValueError as error:
            await _close(send, Ending(1008, str(error), "invalid"))
            return
        if isinstance(found, Ending) or len(self.hub.clients) >= self._settings.ws_max_clients:
            await _close(send, found if isinstance(found, Ending) else FULL)
            return
        await self._listen(Client(send, found, patterns), receive, after)

    async def _admit(self, scope: Scope, query: Mapping[str, list[str]]) -> Guest | Refusal | Ending:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        asked = Asked(query, headers, _cookies(headers.get("cookie", "")))
        try:
            return await admit(
                self._store,
                asked,
                admin_token=self._settings.admin_token,
                public_url=self._settings.public_url,
                sessions=self._sessions,
            )
        except Exception as error:
            if not is_away(error):
                raise
            metrics.count_redis_error(error)
            return AWAY

    async def _refuse(self, scope: Scope, send: Send, refusal: Refusal) -> None:
        """Accepts and closes with the reason, so that browsers can show it; answers 429 to who has failed often."""
        address = client_address(scope, self._settings.trusted_proxies)
        if self._failures.too_many(address):
            await _deny(scope, send)
            return
        self._failures.note(address)
        await send({"type": "websocket.accept"})
        await _close(send, Ending(1008, refusal.reason, "unauthorized"))

    def _wishes(self, query: Mapping[str, list[str]]) -> tuple[Patterns, Vector | None]:
        """The filter and the position to resume from; ValueError says what is wrong with them."""
        listed = ",".join(query.get("events", []))
        patterns = check_patterns([part.strip() for part in listed.split(",") if part.strip()])
        after = query.get("last_event_id", [""])[0]
        if not after:
            return tuple(sorted(patterns)), None
        try:
            return tuple(sorted(patterns)), cursor.decode(after, self._store.shards)
        except ValueError as error:
            raise ValueError(f"last_event_id: {error}; take it from `cursor`") from None

    async def _listen(self, client: Client, receive: Receive, after: Vector | None) -> None:
        """Runs a client's reader and writer until either it leaves or we end it."""
        async with self.hub.listening(client):
            tasks = [
                asyncio.create_task(_read(client, receive)),
                asyncio.create_task(self._write(client, after)),
            ]
            try:
                ways: list[asyncio.Future[Any]] = [*tasks, client.ended]
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
        ending = client.ended.result() if client.ended.done() else None
        if ending is not None:
            await _close(client.send, ending)

    async def _write(self, client: Client, after: Vector | None) -> None:
        """Greets the client, brings it up to date, and then writes what the hub gives it."""
        try:
            await self.hub.located()
            if after is None:
                here = self.hub.position
                self.hub.join(client)
                await client.send(_text(live_messages.connected(here)))
            else:
                await client.send(_text(live_messages.connected(after)))
                await self.hub.catch_up(client, after)
            await client.write()
        except Exception as error:  # noqa: BLE001 - uvicorn raises when the client is gone
            if is_away(error):
                client.end(AWAY)
            else:
                log.debug("live.left", error=repr(error))
                client.end(None)


async def _read(client: Client, receive: Receive) -> None:
    """Answers pings and ignores everything else, until the client leaves."""
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            client.end(None)
            return
        if live_messages.is_ping(message.get("text")):
            await client.send(_text(live_messages.PONG))


async def _close(send: Send, ending: Ending) -> None:
    metrics.LIVE_CLOSED.labels(ending.label).inc()
    try:
        async with asyncio.timeout(CLOSE_WITHIN):
            await send({"type": "websocket.close", "code": ending.code, "reason": ending.reason[:MAX_REASON]})
    except Exception as error:  # noqa: BLE001 - it is gone already, or takes nothing any more
        log.debug("live.close_failed", error=repr(error))


async def _deny(scope: Scope, send: Send) -> None:
    """429 instead of a handshake; 403 by a server that cannot answer a handshake with a status of our choice."""
    if "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": 1008})
        return
    body = b'{"detail": "too many handshakes without a valid token: wait a minute"}'
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"retry-after", b"60"),
    ]
    await send({"type": "websocket.http.response.start", "status": 429, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": body})


def _text(text: str) -> dict[str, str]:
    return {"type": "websocket.send", "text": text}


def _cookies(header: str) -> dict[str, str]:
    try:
        return {name: morsel.value for name, morsel in SimpleCookie(header).items()}
    except CookieError:
        return {}

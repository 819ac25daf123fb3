"""Live events from `/ws`, resumed at the last cursor after every break."""

from __future__ import annotations

import json
import random
import time
import urllib.parse
from typing import TYPE_CHECKING, Any

from . import frames, settings
from .exchange import retry_after
from .failures import Failed, TimedOut
from .websocket import Closed, Turned, WebSocket, open_websocket

if TYPE_CHECKING:
    from collections.abc import Callable

CONNECTING = 10.0  # seconds for connection and handshake
QUIET = 20.0  # seconds of silence after which the server is asked for a sign of life
DEAD = 30.0  # seconds of silence after which the connection counts as broken
STABLE = 10.0  # seconds after which a connection counts as one, whatever came through it
SLOWEST = 30.0  # seconds between two tries at most
LONGEST = 300.0  # seconds of a Retry-After that are believed
REFUSALS = (401, 403, 404)  # no later try would be answered otherwise


class Refused(Failed):
    """The token is not valid or there is no such place: trying again would not help."""


class Watch:
    """Follows the events and hands each message to `show`; what happens to the connection goes to `tell`."""

    def __init__(
        self,
        url: str | None,
        token: str,
        show: Callable[[dict[str, Any]], None],
        tell: Callable[[str], None],
        *,
        events: str = "",
        cursor: str = "",
    ) -> None:
        self._base = settings.base_url(url)
        self._token = token
        self._show = show
        self._tell = tell
        self._events = events
        self.cursor = cursor
        self._failures = 0  # breaks since the last event

    def follow(self) -> None:
        """Connect, hand over messages, after a break connect again; raises Refused, otherwise never ends."""
        while True:
            wait = 0.0
            try:
                socket = open_websocket(self._address(), self._headers(), CONNECTING)
            except Turned as error:
                if error.reply.status in REFUSALS:
                    raise Refused(str(error)) from None
                reason, wait = str(error), min(retry_after(error.reply), LONGEST)
            except Failed as error:
                reason = str(error)
            else:
                reason = self._read(socket)
            pause = max(wait, backoff(self._failures, random.random()))  # noqa: S311 - spreads load, guards nothing
            self._failures += 1
            self._tell(f"{reason}; trying again in {pause:.1f} s")
            time.sleep(pause)

    def _read(self, socket: WebSocket) -> str:
        """Hand over messages until the connection ends; why it did. Raises Refused on a 1008."""
        since = time.monotonic()
        try:
            while True:
                try:
                    message = socket.receive(QUIET)
                except TimedOut:
                    if time.monotonic() - socket.heard > DEAD:
                        return "the server has gone silent"
                    socket.ping()
                    continue
                if isinstance(message, Closed):
                    if message.code == frames.POLICY:
                        raise Refused(f"the server closed the connection: {message.reason or 'not allowed'}")
                    return f"the connection ended ({message.code} {message.reason})".replace(" )", ")")
                self._handle(message)
        except Refused:
            raise
        except Failed as error:
            return str(error)
        finally:
            if time.monotonic() - since > STABLE:
                self._failures = 0
            socket.close()

    def _handle(self, text: str | bytes) -> None:
        """Remember the cursor once the message has been shown; what is not understood is ignored."""
        try:
            message = json.loads(text)
        except ValueError:
            return
        if not isinstance(message, dict) or message.get("type") == "pong":
            return
        if message.get("type") != "connection":  # a full server may greet before it closes with 1013
            self._failures = 0
        self._show(message)
        if message.get("cursor"):
            self.cursor = str(message["cursor"])

    def _address(self) -> str:
        query = {"events": self._events, "last_event_id": self.cursor}
        return f"{self._base}/ws?{urllib.parse.urlencode({k: v for k, v in query.items() if v})}".rstrip("?")

    def _headers(self) -> dict[str, str]:
        """The token stands in a header: addresses end up in logs."""
        return {"Authorization": f"Bearer {self._token}"}


def backoff(failures: int, chance: float) -> float:
    """Seconds before the next try: 0.5, 1, 2, 4 … 30, between half and all of it by chance (0 to 1)."""
    return min(SLOWEST, 0.5 * 2.0 ** min(failures, 10)) * (0.5 + chance / 2)


def one_line(message: dict[str, Any]) -> str:
    """An event as a line for a terminal; control characters in it are shown, not obeyed."""
    payload = message.get("payload")
    monitor = payload.get("monitor") if isinstance(payload, dict) else None
    if isinstance(payload, dict) and isinstance(monitor, dict):
        change = f"{payload.get('old_status')} → {payload.get('new_status')}"
        said = f"  {payload['message']}" if payload.get("message") else ""
        detail = f"{monitor.get('name')}  {change}{said}"
    else:
        detail = str(
            message.get("message") or json.dumps(payload if payload is not None else {}, ensure_ascii=False)
        )
    at = message.get("timestamp") or time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    line = f"{at}  {message.get('type')}  {detail}"
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in line)

"""Heartbeats: what is sent for one, and the two objects that send it without ever disturbing the program."""

from __future__ import annotations

import os
import urllib.parse

from . import settings
from .exchange import post
from .failures import Failed
from .quietly import attempt, attempt_async
from .wire import Deadline

TYPE_CHECKING = False  # see __init__
if TYPE_CHECKING:
    from collections.abc import Callable

MESSAGE_LIMIT = 10_000  # bytes; the server cuts there too
STATUSES = ("ok", "warning", "error")


class Beat:
    """One heartbeat to be.

    `action` is empty, start, fail, log or an exit status; `rid` pairs a start with its end.
    """

    __slots__ = ("action", "message", "rid", "status")

    def __init__(self, status: str = "ok", message: str = "", *, action: str = "", rid: str = "") -> None:
        self.status = status
        self.message = message
        self.action = action
        self.rid = rid

    def url(self, base: str, token: str) -> str:
        """Where it is posted to; raises Failed without a token."""
        if not token:
            raise Failed("no token given, and PULSE_TOKEN is not set")
        path = f"{base}/api/heartbeat/{urllib.parse.quote(token, safe='')}"
        if self.action:
            path += f"/{self.action}"
        return f"{path}?rid={urllib.parse.quote(self.rid, safe='')}" if self.rid else path

    def body(self) -> bytes:
        """The JSON text; raises Failed for a status that the server would refuse.

        Empty where the action says everything: the body of an action is its message.
        """
        if self.action and not self.message:
            return b""
        import json

        if self.status not in STATUSES:
            raise Failed(f"a status is one of {', '.join(STATUSES)}")
        content = {"status": self.status}
        if self.message:
            content["message"] = clip(str(self.message))
        return json.dumps(content).encode()


def send(url: str | None, token: str | None, beat: Beat, deadline: Deadline, tries: int = 3) -> bool:
    """Send it and return True once the server has recorded it; raises Failed."""
    post(beat.url(settings.base_url(url), settings.token(token)), beat.body(), deadline=deadline, tries=tries)
    return True


def clip(text: str) -> str:
    """The text's first 10,000 bytes in UTF-8; what UTF-8 cannot hold (lone surrogates) becomes `?`."""
    return text.encode("utf-8", "replace")[:MESSAGE_LIMIT].decode("utf-8", "ignore")


def new_rid() -> str:
    """A random UUID (version 4); the uuid module would cost `pulse run` a millisecond or more."""
    raw = bytearray(os.urandom(16))
    raw[6] = raw[6] & 0x0F | 0x40
    raw[8] = raw[8] & 0x3F | 0x80
    digits = raw.hex()
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


class Pulse:
    """Sends one monitor's heartbeats.

    Every method returns whether the server accepted, within the timeout (2 s by default, retries included).
    None of them raises: a heartbeat that did not arrive is a warning in the log `mishpulse`. Without a URL or
    token `PULSE_API_HOST` and `PULSE_TOKEN` are used. May be shared by threads.
    """

    def __init__(
        self, url: str | None = None, token: str | None = None, *, timeout: float | None = None
    ) -> None:
        self._url = url
        self._token = token
        self.timeout = settings.timeout(timeout)

    def ok(self, message: str = "") -> bool:
        """All is well."""
        return self.send(Beat("ok", message))

    def warning(self, message: str = "") -> bool:
        """Alive, and something deserves a look."""
        return self.send(Beat("warning", message))

    def error(self, message: str = "") -> bool:
        """Alive, and something is wrong: people are told."""
        return self.send(Beat("error", message))

    def start(self, *, rid: str = "") -> bool:
        """A run begins: its end has to come within the monitor's deadline."""
        return self.send(Beat(action="start", rid=rid))

    def log(self, message: str) -> bool:
        """Keep a message with the monitor; its status stays as it is."""
        return self.send(Beat(message=message, action="log"))

    def send(self, beat: Beat) -> bool:
        """Send a beat made by hand."""
        return bool(attempt("heartbeat not delivered", self.timeout, self._sending(beat)))

    async def send_async(self, beat: Beat) -> bool:
        """`send` for asyncio: the event loop is never held up."""
        return bool(await attempt_async("heartbeat not delivered", self.timeout, self._sending(beat)))

    def _sending(self, beat: Beat) -> Callable[[], bool]:
        deadline = Deadline(self.timeout)
        return lambda: send(self._url, self._token, beat, deadline)


class AsyncPulse:
    """Pulse for asyncio: the same methods, awaited."""

    def __init__(
        self, url: str | None = None, token: str | None = None, *, timeout: float | None = None
    ) -> None:
        self._pulse = Pulse(url, token, timeout=timeout)

    async def ok(self, message: str = "") -> bool:
        """All is well."""
        return await self._pulse.send_async(Beat("ok", message))

    async def warning(self, message: str = "") -> bool:
        """Alive, and something deserves a look."""
        return await self._pulse.send_async(Beat("warning", message))

    async def error(self, message: str = "") -> bool:
        """Alive, and something is wrong: people are told."""
        return await self._pulse.send_async(Beat("error", message))

    async def start(self, *, rid: str = "") -> bool:
        """A run begins: its end has to come within the monitor's deadline."""
        return await self._pulse.send_async(Beat(action="start", rid=rid))

    async def log(self, message: str) -> bool:
        """Keep a message with the monitor; its status stays as it is."""
        return await self._pulse.send_async(Beat(message=message, action="log"))

    async def every(self, seconds: float) -> None:
        """Beat ok for as long as the task lives; an event loop that hangs falls silent, as it should."""
        import asyncio

        while True:
            await self.ok()
            await asyncio.sleep(seconds)

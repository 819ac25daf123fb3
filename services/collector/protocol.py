"""uvicorn's HTTP protocol with a short way for heartbeats, which are nearly all that a collector is sent.

A request to `/api/heartbeat/{token}` with a token that is known goes from the parser straight into the batch, and its
answer from the batch onto the socket: no task, no scope, no ASGI messages. Whatever is out of the ordinary takes the
ASGI way through `Heartbeats.respond`, which answers alike: this file decides nothing, it only saves work.
"""

import functools
from typing import Any, Final, cast

from starlette.types import Message
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from services.collector import heartbeats
from services.collector.batching import Outcome
from services.collector.heartbeats import Heartbeats
from shared import scripts

PREFIX: Final = heartbeats.PREFIX.encode()
METHODS: Final = (b"POST", b"GET")
GATHERED: Final = 16_384
"""Bytes of a body that are gathered here; a longer one goes the ASGI way, with its flow control."""


class _Unheard:
    """Stands for the event that wakes `receive` of an ASGI app: here nobody waits."""

    def set(self) -> None:
        """Wakes nobody."""


class Hot:
    """A request on the short way; uvicorn keeps it where it keeps the cycle of a request under way."""

    __slots__ = ("body", "disconnected", "headers", "keep_alive", "post", "response_complete", "token")
    message_event = _Unheard()

    def __init__(
        self, token: str, *, post: bool, headers: list[tuple[bytes, bytes]], keep_alive: bool
    ) -> None:
        self.token = token
        self.post = post
        self.headers = headers
        self.keep_alive = keep_alive
        self.body = b""
        self.response_complete = False
        self.disconnected = False


class HeartbeatProtocol(HttpToolsProtocol):
    """One connection; everything but plain heartbeats is uvicorn's own."""

    def __init__(self, beats: Heartbeats, **options: Any) -> None:
        super().__init__(**options)
        self._beats = beats
        self._gathering: Hot | None = None
        self._idle_since: float | None = None
        self._idle_timer: Any = None

    def connection_made(self, transport: Any) -> None:
        """Counts it: whoever wants to know that nobody waits looks for a turn without one."""
        self._beats.accepted += 1
        super().connection_made(transport)

    def on_message_begin(self) -> None:
        """Begins a request; its scope is made when it turns out to need one."""
        self.url = b""
        self.headers = []
        self.expect_100_continue = False
        self._idle_since = None

    def on_headers_complete(self) -> None:
        """Chooses the way: the short one only when nothing is under way on this connection and nothing is special."""
        url, parser = self.url, self.parser
        if (
            url.startswith(PREFIX)
            and (self.cycle is None or self.cycle.response_complete)
            and parser.get_method() in METHODS
            and parser.get_http_version() == "1.1"
            and not parser.should_upgrade()
            and not self.expect_100_continue
            and not self.flow.write_paused
        ):
            self._gathering = Hot(
                url[len(PREFIX) :].decode("latin-1"),
                post=parser.get_method() == b"POST",
                headers=self.headers,
                keep_alive=parser.should_keep_alive(),
            )
        else:
            self._take_asgi_way()

    def _take_asgi_way(self) -> None:
        """Gives the request whose headers were read to the app."""
        gathered, self._gathering = self._gathering, None
        url, headers, expect = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expect
        self.headers.extend(headers)
        super().on_headers_complete()
        if gathered is not None and gathered.body:
            super().on_body(gathered.body)

    def on_body(self, body: bytes) -> None:
        """Gathers a short body."""
        hot = self._gathering
        if hot is None:
            super().on_body(body)
            return
        hot.body += body
        if len(hot.body) > GATHERED:
            self._take_asgi_way()

    def on_message_complete(self) -> None:
        """Hands a plain heartbeat to the batch."""
        hot = self._gathering
        if hot is not None:
            if self._beats.take(hot.token, hot.body, functools.partial(self._settle, hot), post=hot.post):
                self._gathering = None
                self.cycle = cast("Any", hot)
                return
            self._take_asgi_way()
        super().on_message_complete()

    def _settle(self, hot: Hot, outcome: Outcome) -> None:
        """Answers with what became of the heartbeat."""
        if outcome.__class__ is int and outcome >= scripts.IGNORED:
            self._answer(hot, *heartbeats.ACCEPTED)
        elif isinstance(outcome, Exception):
            self._answer(hot, *heartbeats.unavailable(outcome))
        else:  # the token was moved, or the record is damaged: a longer look
            task = self.loop.create_task(self._look_again(hot))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    async def _look_again(self, hot: Hot) -> None:
        async def receive() -> Message:
            return {"type": "http.request", "body": hot.body}

        scope = {
            "type": "http",
            "method": "POST" if hot.post else "GET",
            "path": heartbeats.PREFIX + hot.token,
            "query_string": b"",
            "headers": hot.headers,
            "client": self.client,
        }
        self._answer(hot, *await self._beats.respond(scope, receive))

    def _answer(self, hot: Hot, start: Message, body: Message) -> None:
        """Writes a whole answer and goes on with the connection, as uvicorn's cycle does after its last message."""
        hot.response_complete = True
        if hot.disconnected or self.transport.is_closing():
            return
        default = self.server_state.default_headers
        self.transport.write(
            _accepted(default, hot.keep_alive)
            if start is heartbeats.ACCEPTED[0]
            else serialise(default, start, body, keep_alive=hot.keep_alive)
        )
        if not hot.keep_alive:
            self.transport.close()
        if self.pipeline or self.flow.read_paused or not hot.keep_alive:
            self.on_response_complete()
            return
        self.server_state.total_requests += 1
        self._wait_for_more()

    def _wait_for_more(self) -> None:
        """Keeps an idle connection for uvicorn's keep-alive time.

        One timer serves many requests: it looks back when it fires, for a timer per request is a tenth of its cost.
        """
        self._idle_since = self.loop.time()
        if self._idle_timer is None:
            self._idle_timer = self.loop.call_later(self.timeout_keep_alive, self._look_back)

    def _look_back(self) -> None:
        self._idle_timer = None
        if self._idle_since is None or self.transport.is_closing():
            return
        left = self._idle_since + self.timeout_keep_alive - self.loop.time()
        if left <= 0:
            self.timeout_keep_alive_handler()
        else:
            self._idle_timer = self.loop.call_later(left, self._look_back)

    def connection_lost(self, exc: Exception | None) -> None:
        """Lets go of what was gathered."""
        self._gathering = None
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """Ends the connection after the request under way, one of which only a part is here too."""
        if self._gathering is not None:
            self._take_asgi_way()
        super().shutdown()


def serialise(
    default: list[tuple[bytes, bytes]], start: Message, body: Message, *, keep_alive: bool
) -> bytes:
    """An HTTP/1.1 response as uvicorn writes it."""
    headers = [*default, *start["headers"], *([] if keep_alive else [(b"connection", b"close")])]
    lines = [name + b": " + value + b"\r\n" for name, value in headers]
    return b"".join([STATUS_LINE[start["status"]], *lines, b"\r\n", body["body"]])


_last: dict[bool, tuple[list[tuple[bytes, bytes]], bytes]] = {}


def _accepted(default: list[tuple[bytes, bytes]], keep_alive: bool) -> bytes:
    """The answer to an accepted heartbeat; it changes with uvicorn's date header, once a second."""
    made = _last.get(keep_alive)
    if made is None or made[0] is not default:
        made = _last[keep_alive] = (
            default,
            serialise(default, *heartbeats.ACCEPTED, keep_alive=keep_alive),
        )
    return made[1]

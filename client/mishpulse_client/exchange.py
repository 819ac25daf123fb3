"""HTTP requests with a deadline, and the few retries that fit into it."""

from __future__ import annotations

import time
import urllib.parse

from . import __version__
from .failures import Failed, TimedOut
from .wire import Deadline, Stream, Target, connect

TYPE_CHECKING = False  # see __init__
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

HEAD_LIMIT = 65_536
BODY_LIMIT = 1_048_576  # what is longer is no answer of ours; the rest is left unread
AGENT = f"mishpulse-client/{__version__}"
PAUSES = (0.1, 0.3, 0.9, 2.7, 5.0)  # seconds before the 2nd, 3rd … try; the last one repeats


class Reply:
    """A response: status, headers by lower-case name, body."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, headers: dict[str, str], body: bytes = b"") -> None:
        self.status = status
        self.headers = headers
        self.body = body


def post(
    url: str, body: bytes, headers: Mapping[str, str] = {}, *, deadline: Deadline, tries: int = 3
) -> Reply:
    """Post and return the 2xx answer; raises Failed with the last reason.

    Tries again, `tries` times in all (0: until the deadline), when the server cannot be reached or
    answers 429 or 5xx; `Retry-After` is kept, and where it lies past the deadline the call gives up at once.
    """
    target = Target(url)
    number = 0
    while True:
        number += 1
        pause = PAUSES[min(number, len(PAUSES)) - 1]
        try:
            reply = request("POST", target, body, headers, deadline)
            if 200 <= reply.status < 300:
                return reply
            failure = Failed(f"the server answered {describe(reply)}")
            if reply.status != 429 and reply.status < 500:
                raise Refused(str(failure))
            pause = max(pause, retry_after(reply))
        except (Refused, TimedOut):
            raise
        except Failed as error:
            failure = error
        if number == tries or deadline.at - time.monotonic() <= pause:
            raise failure
        time.sleep(pause)


class Refused(Failed):
    """The server understood and said no: another try would change nothing."""


def request(
    method: str, target: Target, body: bytes, headers: Mapping[str, str], deadline: Deadline
) -> Reply:
    """One request on a connection of its own; redirects are not followed, proxies not used."""
    head = request_head(
        method,
        target,
        {
            "Content-Length": str(len(body)),
            "Content-Type": "application/json",
            "Connection": "close",
            **headers,
        },
    )
    stream = connect(target, deadline)
    try:
        stream.send(head + body)
        reply = read_head(stream)
        reply.body = _read_body(stream, reply)
        return reply
    finally:
        stream.close()


def request_head(method: str, target: Target, headers: Mapping[str, str]) -> bytes:
    """The first lines of a request; raises Failed for a header that would break out of its line."""
    lines = [f"{method} {target.path} HTTP/1.1", f"Host: {target.authority}", f"User-Agent: {AGENT}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if any(character in line for line in lines for character in "\r\n\0"):
        raise Failed("a header holds a line break")
    try:
        return "\r\n".join([*lines, "", ""]).encode("latin-1")
    except UnicodeEncodeError:
        raise Failed("a header holds characters beyond Latin-1") from None


def read_head(stream: Stream) -> Reply:
    """The status and headers of the next final response; interim ones (1xx but 101) are passed over."""
    while True:
        first, *lines = stream.until(b"\r\n\r\n", HEAD_LIMIT).decode("latin-1").split("\r\n")
        protocol, _, rest = first.partition(" ")
        status = number(rest[:3])
        if not protocol.startswith("HTTP/1.") or status is None:
            raise Failed("the answer is not HTTP")
        if status == 101 or status >= 200:
            return Reply(status, dict(_header_pairs(lines)))


def describe(reply: Reply) -> str:
    """The status with the server's own sentence, or where a redirect points."""
    location = reply.headers.get("location", "")
    if 300 <= reply.status < 400 and location:
        parts = urllib.parse.urlsplit(location)
        return f"{reply.status}: it lives at {parts.scheme}://{parts.netloc}"
    try:
        import json

        return f"{reply.status}: {str(json.loads(reply.body)['detail'])[:300]}"
    except (ValueError, KeyError, TypeError):
        return str(reply.status)


def _header_pairs(lines: Iterable[str]) -> Iterable[tuple[str, str]]:
    for line in lines:
        name, _, value = line.partition(":")
        yield name.strip().lower(), value.strip()


def _read_body(stream: Stream, reply: Reply) -> bytes:
    """RFC 9112, section 6: no body, chunks, a length, or everything until the close, in this order."""
    if reply.status in (204, 304):
        return b""
    if "chunked" in reply.headers.get("transfer-encoding", "").lower():
        return _read_chunks(stream)
    length = number(reply.headers.get("content-length", ""))
    if length is None:
        return stream.rest(BODY_LIMIT)
    return stream.exactly(min(length, BODY_LIMIT))


def _read_chunks(stream: Stream) -> bytes:
    body = b""
    while len(body) < BODY_LIMIT:
        digits = stream.until(b"\r\n", HEAD_LIMIT).split(b";")[0].strip().lower()
        if not digits or digits.strip(b"0123456789abcdef"):
            raise Failed("the answer is not HTTP")
        size = min(int(digits, 16), BODY_LIMIT)
        if size == 0:
            break
        body += stream.exactly(size)
        stream.until(b"\r\n", HEAD_LIMIT)
    return body


def number(text: str) -> int | None:
    """The number that a header writes in plain digits, or None; int() takes signs, spaces and other scripts."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else None


def retry_after(reply: Reply) -> float:
    """Seconds of Retry-After; 0 where it is absent or a date, which our server never sends."""
    return float(number(reply.headers.get("retry-after", "")) or 0)

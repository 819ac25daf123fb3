"""A small WebSocket client (RFC 6455): text in and out, pings answered, closed politely."""

from __future__ import annotations

import base64
import hashlib
import os
import time
from typing import TYPE_CHECKING, NamedTuple

from . import frames
from .exchange import BODY_LIMIT, Reply, describe, number, read_head, request_head
from .failures import Failed, TimedOut
from .wire import Deadline, Stream, Target, connect

if TYPE_CHECKING:
    from collections.abc import Mapping

MAGIC = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3
CLOSING = 1.0  # seconds that the other side gets to answer a close


class Turned(Failed):
    """The handshake was answered with something else than 101."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(f"the server answered {describe(reply)}")
        self.reply = reply


class Closed(NamedTuple):
    """Why a connection ended: a close code (1006 when it just broke) and the reason given."""

    code: int
    reason: str


class WebSocket:
    """An open connection; use `open_websocket` to get one."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._assembler = frames.Assembler()
        self.heard = time.monotonic()  # when the last frame of any kind came

    def receive(self, seconds: float) -> str | bytes | Closed:
        """The next message, or Closed when there will be no more; after a TimedOut it may be called again."""
        deadline = Deadline(seconds)
        try:
            while True:
                frame = frames.take(self._stream.buffer)
                if frame is None:
                    self._stream.deadline = deadline  # answering a ping has set another
                    if not self._stream.fill():
                        return self._gone("the connection broke")
                    continue
                self.heard = time.monotonic()
                answer = self._handle(frame)
                if answer is not None:
                    return answer
        except frames.Broken as error:
            self.close(error.code, str(error))
            return Closed(error.code, str(error))
        except TimedOut:
            raise
        except Failed as error:
            return self._gone(str(error))

    def send(self, text: str) -> None:
        """Send a text message; raises Failed."""
        self._send(frames.TEXT, text.encode())

    def ping(self) -> None:
        """Ask for a sign of life; it shows in `heard`. Raises Failed."""
        self._send(frames.PING, b"")

    def close(self, code: int = frames.NORMAL, reason: str = "") -> None:
        """Say goodbye and wait a moment for the answer; never raises."""
        try:
            self._send(frames.CLOSE, frames.close_payload(code, reason))
            self._stream.deadline = Deadline(CLOSING)
            while (frame := frames.take(self._stream.buffer)) is None or frame.opcode != frames.CLOSE:
                if frame is None and not self._stream.fill():
                    break
        except (Failed, frames.Broken):
            pass  # the other side is past caring
        finally:
            self._stream.close()

    def _handle(self, frame: frames.Frame) -> str | bytes | Closed | None:
        """What the frame means for the caller; pings and closes are answered here."""
        if frame.opcode == frames.PING:
            self._send(frames.PONG, frame.payload)
        elif frame.opcode == frames.CLOSE:
            code, reason = frames.parse_close(frame.payload)
            try:
                self._send(frames.CLOSE, frame.payload[:2])
            except Failed:
                pass  # it has hung up already
            finally:
                self._stream.close()
            return Closed(code, reason)
        elif frame.opcode != frames.PONG:
            return self._assembler.add(frame)
        return None

    def _gone(self, reason: str) -> Closed:
        self._stream.close()
        return Closed(frames.ABNORMAL, reason)

    def _send(self, opcode: int, payload: bytes) -> None:
        self._stream.deadline = Deadline(10)  # a peer that reads nothing for so long is gone
        self._stream.send(frames.encode(opcode, payload, os.urandom(4)))


def open_websocket(url: str, headers: Mapping[str, str], seconds: float) -> WebSocket:
    """Connect and shake hands within that time; raises Turned with the server's answer, or Failed."""
    target = Target(url)
    key = base64.b64encode(os.urandom(16)).decode()
    stream = connect(target, Deadline(seconds))
    try:
        handshake = {
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Key": key,
            "Sec-WebSocket-Version": "13",
            **headers,
        }
        stream.send(request_head("GET", target, handshake))
        reply = read_head(stream)
        if reply.status != 101:
            length = number(reply.headers.get("content-length", ""))
            reply.body = stream.exactly(min(length or 0, BODY_LIMIT))
            raise Turned(reply)
        _check_handshake(reply, key)
    except BaseException:
        stream.close()
        raise
    return WebSocket(stream)


def _check_handshake(reply: Reply, key: str) -> None:
    """RFC 6455, section 4.1: the answer proves that a WebSocket server read this very request."""
    expected = base64.b64encode(hashlib.sha1(f"{key}{MAGIC}".encode()).digest()).decode()  # noqa: S324 - the protocol's
    upgrade = reply.headers.get("upgrade", "").lower()
    if upgrade != "websocket" or reply.headers.get("sec-websocket-accept") != expected:
        raise Failed("the server does not speak WebSocket")
    if reply.headers.get("sec-websocket-extensions"):
        raise Failed("the server uses an extension that was not offered")

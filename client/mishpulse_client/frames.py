"""WebSocket frames (RFC 6455, section 5) as bytes: no sockets here."""

from __future__ import annotations

from typing import NamedTuple

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
LARGEST = 16 * 1_048_576  # bytes of one message; an event's payload is 64 KiB

# Close codes of section 7.4.1, and 1013 of the registry.
NORMAL, PROTOCOL_ERROR, NO_CODE, ABNORMAL = 1000, 1002, 1005, 1006
NOT_UTF8, POLICY, TOO_BIG, TRY_LATER = 1007, 1008, 1009, 1013


class Broken(Exception):  # noqa: N818 - the connection is
    """The peer broke the protocol; `code` is what to close with."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class Frame(NamedTuple):
    """One frame as it came."""

    final: bool
    opcode: int
    payload: bytes


def encode(opcode: int, payload: bytes, mask: bytes) -> bytes:
    """A final frame as a client sends it; the four bytes of the mask must be new and random each time."""
    size = len(payload)
    if size < 126:
        head = bytes((0x80 | opcode, 0x80 | size))
    elif size < 65_536:
        head = bytes((0x80 | opcode, 0x80 | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((0x80 | opcode, 0x80 | 127)) + size.to_bytes(8, "big")
    return head + mask + masked(payload, mask)


def masked(payload: bytes, mask: bytes) -> bytes:
    """The payload XORed with the repeated mask, as one big integer because bytes one by one are slow."""
    size = len(payload)
    key = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(size, "big")


def take(buffer: bytearray) -> Frame | None:
    """Take one whole frame from the front of the buffer, or None while it is incomplete; raises Broken."""
    if len(buffer) < 2:
        return None
    first, second = buffer[0], buffer[1]
    if first & 0x70:
        raise Broken(PROTOCOL_ERROR, "reserved bits are set, but no extension was agreed")
    if second & 0x80:
        raise Broken(PROTOCOL_ERROR, "a server must not mask")
    size, start = second, 2
    if size >= 126:
        start = 4 if size == 126 else 10
        if len(buffer) < start:
            return None
        size = int.from_bytes(buffer[2:start], "big")
    final, opcode = bool(first & 0x80), first & 0x0F
    _check(final, opcode, size)
    if len(buffer) < start + size:
        return None
    payload = bytes(buffer[start : start + size])
    del buffer[: start + size]
    return Frame(final, opcode, payload)


def close_payload(code: int, reason: str = "") -> bytes:
    """The body of a close frame; the reason is cut to what a control frame holds."""
    return code.to_bytes(2, "big") + reason.encode()[:123].decode("utf-8", "ignore").encode()


def parse_close(payload: bytes) -> tuple[int, str]:
    """The code and reason of a close frame; raises Broken for a code that must not be sent."""
    if not payload:
        return NO_CODE, ""
    code = int.from_bytes(payload[:2], "big")
    allowed = 1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999
    if len(payload) == 1 or not allowed:
        raise Broken(PROTOCOL_ERROR, "a close code that must not be sent")
    return code, text_of(payload[2:])


def text_of(payload: bytes) -> str:
    """The text; raises Broken where it is not UTF-8."""
    try:
        return payload.decode()
    except UnicodeDecodeError:
        raise Broken(NOT_UTF8, "text that is not UTF-8") from None


class Assembler:
    """Puts fragmented messages together; control frames may stand between the fragments."""

    def __init__(self) -> None:
        self._opcode = 0
        self._parts: list[bytes] = []
        self._size = 0

    def add(self, frame: Frame) -> bytes | str | None:
        """The message that this data frame completes, or None; raises Broken."""
        if (frame.opcode == CONTINUATION) != bool(self._opcode):
            raise Broken(PROTOCOL_ERROR, "a fragment out of order")
        self._opcode = frame.opcode or self._opcode
        self._size += len(frame.payload)
        if self._size > LARGEST:
            raise Broken(TOO_BIG, "a message too large")
        self._parts.append(frame.payload)
        if not frame.final:
            return None
        opcode, whole = self._opcode, b"".join(self._parts)
        self._opcode, self._parts, self._size = 0, [], 0
        return text_of(whole) if opcode == TEXT else whole


def _check(final: bool, opcode: int, size: int) -> None:
    if opcode not in (CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG):
        raise Broken(PROTOCOL_ERROR, "an unknown kind of frame")
    if opcode >= CLOSE and (size > 125 or not final):
        raise Broken(PROTOCOL_ERROR, "a control frame that is long or fragmented")
    if size > LARGEST:
        raise Broken(TOO_BIG, "a message too large")

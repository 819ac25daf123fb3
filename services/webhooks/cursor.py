"""Cursors: positions in the event log as clients hold them. Pure.

With one shard a cursor is the stream id of the last event that was seen. With more it is an opaque text: `v`, and in
base64url for each shard the ms and the sequence of its id, as numbers of 7 bits a byte (LEB128); ms are written as the
distance to the newest, so that busy shards take two or three bytes.
"""

import base64
import binascii
import re
from collections.abc import Iterator, Sequence
from typing import Final

Position = tuple[int, int]
"""A stream id as (ms, sequence), which compares as Redis compares them."""
Vector = tuple[Position, ...]
"""A position in every shard."""

START: Final[Position] = (0, 0)
_ID: Final = re.compile(r"([0-9]{1,15})-([0-9]{1,15})")
MARK: Final = "v"


def parse_id(text: str) -> Position:
    """The position of a stream id; raises ValueError for anything else."""
    found = _ID.fullmatch(text)
    if found is None:
        raise ValueError("it is no position in the event log")
    return int(found[1]), int(found[2])


def id_of(position: Position) -> str:
    """The stream id of a position."""
    return f"{position[0]}-{position[1]}"


def encode(vector: Vector) -> str:
    """The cursor of a position in every shard."""
    if len(vector) == 1:
        return id_of(vector[0])
    newest = max(position[0] for position in vector)
    raw = bytearray(_number(newest))
    for ms, sequence in vector:
        raw += _number(newest - ms) + _number(sequence)
    return MARK + base64.urlsafe_b64encode(raw).decode().rstrip("=")


def decode(cursor: str, shards: int) -> Vector:
    """The position in every shard of a cursor; raises ValueError when it is none for this number of shards."""
    if shards == 1:
        return (parse_id(cursor),)
    text = cursor.removeprefix(MARK) if cursor.startswith(MARK) else "?"
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        newest, *numbers = _numbers(raw)
    except (ValueError, binascii.Error):
        raise ValueError("it is no position in the event log") from None
    if len(numbers) != 2 * shards or any(distance > newest for distance in numbers[::2]):
        raise ValueError("it is a position in another event log")
    return tuple(
        (newest - distance, sequence) for distance, sequence in zip(numbers[::2], numbers[1::2], strict=True)
    )


def moved(vector: Vector, shard: int, position: Position) -> Vector:
    """The vector with one shard's position replaced."""
    return (*vector[:shard], position, *vector[shard + 1 :])


def _number(value: int) -> bytes:
    raw = bytearray()
    while value > 0x7F:
        raw.append(value & 0x7F | 0x80)
        value >>= 7
    raw.append(value)
    return bytes(raw)


def _numbers(raw: bytes) -> Sequence[int]:
    def read() -> Iterator[int]:
        value, shift = 0, 0
        for byte in raw:
            value |= (byte & 0x7F) << shift
            shift += 7
            if shift > 70:
                raise ValueError
            if byte < 0x80:
                yield value
                value, shift = 0, 0
        if shift:
            raise ValueError

    return list(read())

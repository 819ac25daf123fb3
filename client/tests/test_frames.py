import pytest

from mishpulse_client import frames

MASK = b"\x37\xfa\x21\x3d"


def server_frame(opcode, payload=b"", final=True, first=None):
    size = len(payload)
    head = bytes([(0x80 if final else 0) | opcode if first is None else first])
    if size < 126:
        return head + bytes([size]) + payload
    return (
        head
        + (b"\x7e" + size.to_bytes(2, "big") if size < 65_536 else b"\x7f" + size.to_bytes(8, "big"))
        + payload
    )


def test_the_example_of_the_specification():
    """RFC 6455, section 5.7: a single-frame masked text message."""
    assert frames.encode(frames.TEXT, b"Hello", MASK) == bytes.fromhex("818537fa213d7f9f4d5158")


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536, 100_000])
def test_every_length_survives(size):
    """Each of the three ways to write a length is read back, however the bytes arrive."""
    payload = bytes(index % 251 for index in range(size))
    masked = frames.encode(frames.BINARY, payload, MASK)
    assert frames.masked(masked[-size:] if size else b"", MASK) == payload
    buffer = bytearray(server_frame(frames.BINARY, payload))
    assert frames.take(buffer) == (True, frames.BINARY, payload)
    assert not buffer


def test_a_frame_is_taken_only_whole():
    """While a byte is missing there is none, and the buffer keeps what has come."""
    whole = server_frame(frames.TEXT, b"x" * 300)
    buffer = bytearray()
    for index, byte in enumerate(whole):
        assert frames.take(buffer) is None, index
        buffer.append(byte)
    assert frames.take(buffer).payload == b"x" * 300


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (server_frame(0, first=0xC1), 1002),
        (server_frame(0x3), 1002),
        (server_frame(0xB), 1002),
        (server_frame(frames.PING, b"x" * 126), 1002),
        (server_frame(frames.PING, final=False), 1002),
        (b"\x81\x85" + MASK + b"Hello", 1002),
        (b"\x82\x7f" + (2**40).to_bytes(8, "big"), 1009),
    ],
    ids=["rsv", "opcode 3", "opcode 11", "long ping", "fragmented ping", "masked", "huge"],
)
def test_what_breaks_the_protocol(data, code):
    """Frames that a server must not send are refused before their payload is waited for."""
    with pytest.raises(frames.Broken) as broken:
        frames.take(bytearray(data))
    assert broken.value.code == code


def test_fragments_become_one_message():
    """Text cut in the middle of a character is put together before it is decoded."""
    data = "я€".encode()
    assembler = frames.Assembler()
    assert assembler.add(frames.Frame(False, frames.TEXT, data[:1])) is None
    assert assembler.add(frames.Frame(False, frames.CONTINUATION, data[1:3])) is None
    assert assembler.add(frames.Frame(True, frames.CONTINUATION, data[3:])) == "я€"
    assert assembler.add(frames.Frame(True, frames.BINARY, b"\xff")) == b"\xff"


@pytest.mark.parametrize(
    ("sequence", "code"),
    [
        ([(True, frames.CONTINUATION, b"")], 1002),
        ([(False, frames.TEXT, b""), (True, frames.TEXT, b"")], 1002),
        ([(True, frames.TEXT, b"\xff")], 1007),
        (
            [(False, frames.BINARY, b"x" * (10 * 2**20)), (True, frames.CONTINUATION, b"x" * (7 * 2**20))],
            1009,
        ),
    ],
)
def test_fragments_that_do_not_fit(sequence, code):
    """Out of order, not UTF-8, or too large together."""
    assembler = frames.Assembler()
    *before, last = (frames.Frame(*frame) for frame in sequence)
    for frame in before:
        assembler.add(frame)
    with pytest.raises(frames.Broken) as broken:
        assembler.add(last)
    assert broken.value.code == code


@pytest.mark.parametrize(
    ("payload", "result"),
    [
        (b"", (1005, "")),
        (b"\x03\xe8", (1000, "")),
        (frames.close_payload(1013, "я" * 100), (1013, "я" * 61)),
        (b"\x0f\xa0why", (4000, "why")),
    ],
)
def test_close_codes(payload, result):
    """A close may say nothing, or a code and a reason."""
    assert frames.parse_close(payload) == result


@pytest.mark.parametrize(
    "payload", [b"\x03", b"\x03\xed", b"\x03\xee", b"\x03\xf7", b"\x00\x01", b"\x03\xe8\xff"]
)
def test_close_codes_that_must_not_be_sent(payload):
    """One byte, 1005, 1006, 1015, numbers out of range, a reason that is not UTF-8."""
    with pytest.raises(frames.Broken):
        frames.parse_close(payload)

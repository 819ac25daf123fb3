"""Logs carry neither secrets nor a stranger's control characters."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from shared import logs


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """Where all logs of the test go."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    levels = {name: logging.getLogger(name).level for name in logs.QUIET}
    stream = io.StringIO()
    logs.setup("tests", "info", stream)
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, before in levels.items():
        logging.getLogger(name).setLevel(before)
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


def entries(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("/api/heartbeat/f7c1-aa/start", "/api/heartbeat/***/start"),
        ("/ping/abcdef/slug?rid=1", "/ping/***/slug?rid=1"),
        ("/api/push/tok?status=up", "/api/push/***?status=up"),
        ("GET /ws?events=*&token=abc HTTP/1.1", "GET /ws?*** HTTP/1.1"),
        ("https://api.telegram.org/bot123:AAb-c/sendMessage", "https://api.telegram.org/bot***/sendMessage"),
        ("redis://user:pw@host:6379/0", "redis://***@host:6379/0"),
        ("Authorization: Bearer abc.def", "Authorization: Bearer ***"),
        ("https://x/hook?api_key=abc&b=1", "https://x/hook?api_key=***&b=1"),
        ("made mp_" + "a" * 43, "made ***"),
        ("two\r\nlines \x1b[31mred\x1b[0m \u202eback\u2028next", "two  lines  [31mred [0m  back next"),
        ("nothing to hide: /api/monitors?limit=5", "nothing to hide: /api/monitors?limit=5"),
    ],
)
def test_text_is_cleaned(text: str, shown: str) -> None:
    """What looks like a secret is hidden and what could forge a line becomes a space, wherever it stands."""
    assert logs.clean(text) == shown


def test_values_are_hidden_by_name(stream: io.StringIO) -> None:
    """A secret's name hides its value, also inside a mapping."""
    structlog.get_logger("a").info("made", token="abc", config={"bot_token": "x", "chat_id": 7}, password="")
    (entry,) = entries(stream)
    assert entry["token"] == "***"
    assert entry["config"] == {"bot_token": "***", "chat_id": 7}
    assert entry["password"] == ""
    assert (entry["service"], entry["level"], entry["event"]) == ("tests", "info", "made")


def test_other_libraries_come_the_same_way(stream: io.StringIO) -> None:
    """What is written with the standard logging is one JSON line too, with its traceback inside."""
    try:
        int("Bearer abcdef")
    except ValueError:
        logging.getLogger("arq.worker").exception("job %s failed\n", "/ws?token=x")
    (entry,) = entries(stream)
    assert entry["event"] == "job /ws?*** failed "
    assert entry["logger"] == "arq.worker"
    assert "Bearer ***" in str(entry["exception"])
    assert "Traceback" in str(entry["exception"])


def test_the_noisy_are_quiet(stream: io.StringIO) -> None:
    """The address of every request by httpx, the query of every WebSocket by uvicorn: not here."""
    for name in ("httpx", "uvicorn.error", "websockets.server"):
        logging.getLogger(name).info("/ws?token=x")
    assert stream.getvalue() == ""


def test_levels_are_kept(stream: io.StringIO) -> None:
    """What is below the level is not written."""
    structlog.get_logger("a").debug("no")
    structlog.get_logger("a").warning("yes")
    assert [entry["event"] for entry in entries(stream)] == ["yes"]

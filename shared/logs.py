"""Logs: one JSON line per event on stderr, a readable one on a terminal; no secrets, no control characters.

Everything goes through here, also what uvicorn, arq and other libraries write with the standard `logging`.
"""

import json
import logging
import re
import sys
from collections.abc import MutableMapping, Sequence
from typing import Any, Final, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

HIDDEN: Final = "***"

SECRET_NAMES = re.compile(
    r"token|secret|passw|authorization|api[_-]?key|cookie|credential|signature|ticket|private", re.IGNORECASE
)
"""A value under a name like these is never shown."""

SECRET_TEXT: Final = (
    # Tokens that stand in our own paths, and every query of /ws (`?token=`, `?api_key=`).
    (re.compile(r"(/api/heartbeat/|/ping/|/api/push/|/p/)[^/?\s\"']+"), rf"\1{HIDDEN}"),
    (re.compile(r"(/ws[^?\s\"']*)\?[^\s\"']*"), rf"\1?{HIDDEN}"),
    (
        re.compile(
            r"([?&](?:[\w-]*(?:token|password)|api_?key|key|secret|ticket)=)[^&\s\"']+", re.IGNORECASE
        ),
        rf"\1{HIDDEN}",
    ),
    # A Bot API address, the password in a URL, an authorization header, an API token of ours.
    (re.compile(r"/bot\d+:[\w-]+"), f"/bot{HIDDEN}"),
    (re.compile(r"(://)[^/@\s\"']+@"), rf"\1{HIDDEN}@"),
    (re.compile(r"\b(Bearer\s+)[\w.~+/=-]+", re.IGNORECASE), rf"\1{HIDDEN}"),
    (re.compile(r"\bmp_[\w-]{20,}"), HIDDEN),
)
"""What is taken out of any text, wherever it stands."""

CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]|[\t\n]")
"""C0, C1, line separators and marks of direction: a stranger's message must not forge or colour a line."""

QUIET: Final = ("arq", "httpx", "httpcore", "aiohttp", "websockets", "apprise", "asyncio", "uvicorn")
"""Libraries whose INFO shows the addresses of others, or a line per connection or job."""

TRACE: Final = ("exception", "stack")
"""Keys of many lines that we write ourselves; they keep their line breaks."""


def clean(text: str) -> str:
    """Text that can stand in one line of a log."""
    for pattern, replacement in SECRET_TEXT:
        text = pattern.sub(replacement, text)
    return CONTROL.sub(" ", text)


def _scrubbed(value: Any) -> Any:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, MutableMapping):
        return {key: HIDDEN if _is_secret(key) and item else _scrubbed(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return [_scrubbed(item) for item in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    return clean(str(value))


def _is_secret(name: object) -> bool:
    return isinstance(name, str) and SECRET_NAMES.search(name) is not None


def scrub(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """A processor: hides what is secret, by its name or by its look, and strips control characters."""
    for key, value in event.items():
        if key.startswith("_"):
            continue  # structlog's own, removed before rendering
        if key in TRACE and isinstance(value, str):
            event[key] = "\n".join(clean(line) for line in value.split("\n"))
        elif _is_secret(key) and value:
            event[key] = HIDDEN
        else:
            event[key] = _scrubbed(value)
    return event


def _named(service: str) -> Processor:
    def add(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event.setdefault("service", service)
        return event

    return add


def _dumps(value: Any, **_options: Any) -> str:
    return json.dumps(value, default=str, ensure_ascii=False)


def setup(service: str, level: str = "info", stream: TextIO | None = None) -> None:
    """Routes all logging of this process to `stream` (stderr): readable on a terminal, else JSON lines."""
    stream = stream or sys.stderr
    number = logging.getLevelNamesMapping()[level.upper()]
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _named(service),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        scrub,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    renderer: Processor = (
        structlog.dev.ConsoleRenderer(sort_keys=False, exception_formatter=structlog.dev.plain_traceback)
        if stream.isatty()
        else structlog.processors.JSONRenderer(serializer=_dumps)
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.ExtraAdder(), *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(number)
    for name in QUIET:
        logging.getLogger(name).setLevel(max(number, logging.WARNING))
    logging.captureWarnings(capture=True)

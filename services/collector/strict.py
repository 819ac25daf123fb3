"""JSON that every receiver reads alike, and times as clients write them. Pure.

What the standard module lets through and others do not (NaN, an object that names a key twice, nesting without end) is
refused here, with the place named, before anything is stored.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from shared.events import canonical

MAX_DEPTH = 100
"""CONTRACT 3: objects and lists inside each other; the outermost is the first."""

LATEST = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp()
UNIX = re.compile(r"-?\d{1,12}(?:\.\d+)?")


class InvalidError(ValueError):
    """What a client sent cannot be taken; the message is a sentence for it."""


@dataclass(frozen=True, slots=True)
class Flaw:
    """Stands in a parsed document where something was wrong with it, so that the item it belongs to can be named."""

    detail: str


def parse(body: bytes) -> Any:
    """The document in `body`; InvalidError when it is not JSON.

    Objects that name a key twice and integers that are too long come back as `Flaw`, which `encode` refuses.
    """
    try:
        text = body.decode()
    except UnicodeDecodeError:
        raise InvalidError("the body is not UTF-8") from None
    try:
        return json.loads(text, object_pairs_hook=_object)
    except RecursionError:
        raise InvalidError(f"the body is nested more than {MAX_DEPTH} levels deep") from None
    except json.JSONDecodeError as error:
        where = f"{error.msg} at line {error.lineno}, column {error.colno}"
        raise InvalidError(f"the body is not JSON: {where}") from None
    except ValueError:  # Python's bound on the digits of an integer (CVE-2020-10735)
        return json.loads(text, object_pairs_hook=_object, parse_int=_integer)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any] | Flaw:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    return Flaw("names a key twice in one object, which receivers would read differently")


def _integer(digits: str) -> int | Flaw:
    try:
        return int(digits)
    except ValueError:
        return Flaw("holds an integer of more than 4,300 digits, which receivers cannot read")


def encode(value: Any, name: str) -> str:
    """The canonical text of `value`; InvalidError, in a sentence about `name`, when receivers could not read it."""
    check_depth(value, name)
    try:
        return canonical(value)
    except TypeError:
        raise InvalidError(f"{name} {_first_flaw(value)}") from None
    except ValueError:
        detail = "holds a number that JSON does not have: NaN, an infinity, or one that overflows"
        raise InvalidError(f"{name} {detail}") from None


def _children(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def check_depth(value: Any, name: str) -> None:
    """Raises InvalidError when `value` is nested too deeply; without recursion, for that is what it guards."""
    level: list[Any] = [value]
    for _ in range(MAX_DEPTH):
        level = [item for parent in level for item in _children(parent) if isinstance(item, dict | list)]
        if not level:
            return
    raise InvalidError(f"{name} is nested more than {MAX_DEPTH} levels deep")


def _first_flaw(value: Any) -> str:
    level: list[Any] = [value]
    while level:
        for item in level:
            if isinstance(item, Flaw):
                return item.detail
        level = [item for parent in level for item in _children(parent)]
    return "is not JSON"


def timestamp_ms(value: Any) -> int:
    """The ms of a time in ISO 8601 (UTC when it names no offset) or Unix seconds, also as text; else InvalidError."""
    try:
        seconds = _seconds(value)
    except (ValueError, OverflowError):
        detail = "timestamp must be ISO 8601 such as 2025-10-16T12:00:00Z, or Unix seconds"
        raise InvalidError(detail) from None
    if not 0 <= seconds <= LATEST:
        raise InvalidError("timestamp must lie between the years 1970 and 9999; a Unix time is in seconds")
    return round(seconds * 1000)


def _seconds(value: Any) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, str):
        raise ValueError  # noqa: TRY004 - one error for all that is no time
    if UNIX.fullmatch(value):
        return float(value)
    at = datetime.fromisoformat(value)
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()

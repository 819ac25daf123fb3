"""How clients of other monitors speak, one dialect a file; each ends in the same way of a heartbeat.

A dialect is plain ASGI: a class with `PREFIX` (where its paths begin) and `respond`, which answers a request with two
ASGI messages; `PATHS` of its module is its part of the OpenAPI document. Its errors take the form its clients know.
While we cannot tell whether a token is good it answers 503, and to too many unknown ones 429, never 404: clients give
up on that.
"""

from collections.abc import Awaitable, Callable
from typing import Any, ClassVar, Final, Protocol
from urllib.parse import parse_qs

import structlog
from redis.exceptions import RedisError
from starlette.types import Message, Receive, Scope

from services.collector.heartbeats import Heartbeats, Refused, answer
from shared import metrics, web
from shared.connection import UNAVAILABLE, Store
from shared.settings import Settings

log = structlog.get_logger(__name__)

Answer = tuple[Message, Message]
TEXT: Final = b"text/plain; charset=utf-8"
JSON: Final = b"application/json"


class Dialect(Protocol):
    """What the collector's app asks of a dialect."""

    PREFIX: ClassVar[str]

    def __init__(self, store: Store, settings: Settings, beats: Heartbeats) -> None: ...

    async def respond(self, scope: Scope, receive: Receive) -> Answer:
        """The answer to a request whose path begins with `PREFIX`."""


async def guarded(work: Awaitable[Answer], refuse: Callable[[Refused], Answer]) -> Answer:
    """What `work` answers, or what the dialect makes of its refusal or of an unreachable Redis."""
    try:
        return await work
    except Refused as refused:
        return refuse(refused)
    except (RedisError, *UNAVAILABLE) as error:
        metrics.count_redis_error(error)
        log.warning("heartbeat not accepted", error=str(error))
        return refuse(Refused(503, "the store is not available; try again", {"Retry-After": web.RETRY_AFTER}))


def text(status: int, body: str, headers: dict[str, str] | None = None) -> Answer:
    """A plain text answer."""
    return answer(status, body.encode(), TEXT, *raw(headers or {}))


def raw(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    """Headers as ASGI wants them."""
    return [(name.lower().encode(), value.encode()) for name, value in headers.items()]


def query(scope: Scope) -> dict[str, str]:
    """The first value of each query parameter, empty ones too."""
    if not scope["query_string"]:
        return {}
    pairs = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    return {name: values[0] for name, values in pairs.items()}


def parameter(name: str, description: str, schema: dict[str, Any] | None = None, place: str = "query") -> Any:
    """A parameter for `PATHS`."""
    return {
        "name": name,
        "in": place,
        "required": place == "path",
        "description": description,
        "schema": schema or {"type": "string"},
    }


def responses(media_type: str, **described: str) -> dict[str, Any]:
    """The responses of an operation for `PATHS`: `_200="…"`."""
    schema = {"type": "string"} if media_type.startswith("text/") else {"type": "object"}
    return {
        status.removeprefix("_"): {"description": what, "content": {media_type: {"schema": schema}}}
        for status, what in described.items()
    }

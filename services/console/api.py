"""The HTTP API as the verbs call it, whichever way it is reached."""

import json
from collections.abc import Iterator
from typing import Any, Final, Protocol
from urllib.parse import urlencode

from shared.errors import ConfigError, Conflict, NotFound, PulseError

PAGE: Final = 200
"""What every list of the API gives at once."""

STRANGER: Final = "{path} is not answered as MishPulse does: is the address right?"

Json = dict[str, Any]


class Api(Protocol):
    """One server's API."""

    def send(self, method: str, target: str, body: bytes | None) -> tuple[int, bytes]:
        """Status and body of one request; PulseError when there is no answer."""

    def close(self) -> None:
        """Ends every connection."""


def call(api: Api, method: str, path: str, body: Any = None, **query: Any) -> Any:
    """The answer to one request, None where it is empty.

    Raises ConfigError for what the caller can correct (400, 401, 422), NotFound, Conflict, and PulseError for the rest.
    """
    given = {name: value for name, value in query.items() if value is not None}
    target = f"{path}?{urlencode(given)}" if given else path
    status, answer = api.send(method, target, None if body is None else json.dumps(body).encode())
    try:
        content = json.loads(answer) if answer else None
    except ValueError:
        content = None
        if status < 300:
            raise PulseError(STRANGER.format(path=path)) from None
    if status < 300:
        return content
    raise _refusal(status, content)


def _refusal(status: int, content: Any) -> PulseError:
    detail = content.get("detail") if isinstance(content, dict) else None
    words = str(detail or f"the server answered {status}")
    if status == 401:
        return ConfigError(f"{words} (--token or PULSE_ADMIN_TOKEN)")
    kinds: dict[int, type[PulseError]] = {400: ConfigError, 404: NotFound, 409: Conflict, 422: ConfigError}
    return kinds.get(status, PulseError)(words)


def every(api: Api, path: str, **query: Any) -> Iterator[Json]:
    """Every item of a paged list."""
    offset = 0
    while True:
        page = call(api, "GET", path, limit=PAGE, offset=offset, **query)
        if not isinstance(page, dict) or "items" not in page:
            raise PulseError(STRANGER.format(path=path))
        yield from page["items"]
        offset += PAGE
        if offset >= page["total"] or not page["items"]:
            return

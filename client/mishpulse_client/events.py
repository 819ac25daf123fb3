"""Application events, signed with the API key."""

from __future__ import annotations

import hashlib
import hmac
import json
import uuid
from typing import TYPE_CHECKING, Any

from . import settings
from .exchange import post
from .failures import Failed
from .quietly import attempt, attempt_async
from .wire import Deadline

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

SIGNATURE_HEADER = "X-Pulse-Signature"


def signature(secret: str, body: bytes) -> str:
    """`sha256=` and the hex HMAC-SHA256 of the raw body."""
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


class Events:
    """Sends events to the hub; like Pulse it never raises and never takes longer than its timeout."""

    def __init__(
        self, url: str | None = None, api_key: str | None = None, *, timeout: float | None = None
    ) -> None:
        self._url = url
        self._api_key = api_key
        self.timeout = settings.timeout(timeout)

    def send(self, type: str, payload: Mapping[str, Any], *, id: str | None = None) -> str | None:  # noqa: A002 - the contract's names
        """The event's id once the server has recorded it, otherwise None.

        Without an id one is made, so that our retries are accepted once; give your own for yours.
        """
        return attempt(f"event {type} not delivered", self.timeout, self._sending(type, payload, id))

    async def send_async(self, type: str, payload: Mapping[str, Any], *, id: str | None = None) -> str | None:  # noqa: A002 - see send
        """`send` for asyncio."""
        return await attempt_async(
            f"event {type} not delivered", self.timeout, self._sending(type, payload, id)
        )

    def _sending(self, kind: str, payload: Mapping[str, Any], event_id: str | None) -> Callable[[], str]:
        deadline = Deadline(self.timeout)
        chosen = event_id or uuid.uuid4().hex

        def send() -> str:
            if not self._api_key:
                raise Failed("no API key given")
            body = json.dumps(
                {"type": kind, "payload": dict(payload), "id": chosen}, allow_nan=False
            ).encode()
            headers = {SIGNATURE_HEADER: signature(self._api_key, body)}
            post(f"{settings.base_url(self._url)}/events", body, headers, deadline=deadline)
            return chosen

        return send


class AsyncEvents:
    """Events for asyncio."""

    def __init__(
        self, url: str | None = None, api_key: str | None = None, *, timeout: float | None = None
    ) -> None:
        self._events = Events(url, api_key, timeout=timeout)

    async def send(self, type: str, payload: Mapping[str, Any], *, id: str | None = None) -> str | None:  # noqa: A002 - see Events
        """The event's id once the server has recorded it, otherwise None."""
        return await self._events.send_async(type, payload, id=id)

"""Who may listen at `/ws`: API tokens, single-use tickets, and sessions of our own pages."""

import hashlib
import json
import secrets
import time
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from shared import keys
from shared.auth import ApiToken, authenticate
from shared.connection import Store
from shared.sessions import COOKIE, find

TICKET_SECONDS: Final = 30
TICKET_PREFIX: Final = "mpt_"
FAILURES: Final = 5
WINDOW: Final = 60.0
ADDRESSES: Final = 10_000
"""Addresses remembered; the longest unseen is forgotten first, so that memory is bounded."""
SCOPE: Final = "read"


@dataclass(frozen=True, slots=True)
class Guest:
    """Somebody who may listen. All connections by one token have one `name`; `valid` asks whether it still may."""

    name: str
    valid: Callable[[], Awaitable[bool]]


Sessions = Callable[[Store, Mapping[str, str]], Awaitable[Guest | None]]
"""Finds the guest behind the cookies of our own pages, None when they name no session."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why somebody may not listen."""

    reason: str


@dataclass(frozen=True, slots=True)
class Asked:
    """What a handshake brought to prove who it is."""

    query: Mapping[str, Sequence[str]]
    headers: Mapping[str, str]
    cookies: Mapping[str, str]


async def admit(
    store: Store, asked: Asked, *, admin_token: str, public_url: str, sessions: Sessions | None
) -> Guest | Refusal:
    """The guest behind a handshake, or why there is none. A ticket is used up by it."""
    ticket = _first(asked.query, "ticket")
    text = _first(asked.query, "token") or _first(asked.query, "api_key") or _bearer(asked.headers)
    if ticket or text.startswith(TICKET_PREFIX):
        return await _by_ticket(store, ticket or text)
    if text:
        token = await authenticate(store, text, admin_token)
        if token is None:
            return Refusal("this token is not known here")
        return _by_token(store, token) if token.allows(SCOPE) else Refusal("this token lacks the scope read")
    if sessions is not None and COOKIE in asked.cookies:
        if not is_ours(asked.headers.get("origin", ""), asked.headers.get("host", ""), public_url):
            return Refusal("a session may listen from our own pages only")
        return await sessions(store, asked.cookies) or Refusal("the session has ended: sign in again")
    return Refusal("connect with ?token=<token>, or with a ticket from POST /ws/ticket")


def _first(query: Mapping[str, Sequence[str]], name: str) -> str:
    values = query.get(name)
    return values[0] if values else ""


def _bearer(headers: Mapping[str, str]) -> str:
    kind, _, text = headers.get("authorization", "").partition(" ")
    return text.strip() if kind.lower() == "bearer" else headers.get("x-api-key", "")


def is_ours(origin: str, host: str, public_url: str) -> bool:
    """Whether a page of `origin` is ours: of the host that it connects to, or of the public URL."""
    netloc = urlsplit(origin).netloc.lower() if origin.startswith(("http://", "https://")) else ""
    return bool(netloc) and netloc in {host.lower(), urlsplit(public_url).netloc.lower()}


def signed_in(admin_token: str) -> Sessions:
    """Lets those who are signed in to our own pages listen; `admin_token` is the one of the settings."""

    async def guest(store: Store, cookies: Mapping[str, str]) -> Guest | None:
        session = await find(store, cookies, admin_token)
        if session is None or not session.token.allows(SCOPE):
            return None

        async def valid() -> bool:
            return await find(store, cookies, admin_token) is not None

        return Guest(f"session:{session.csrf}", valid)

    return guest


def _by_token(store: Store, token: ApiToken) -> Guest:
    async def valid() -> bool:
        return token.id == 0 or bool(await store.redis.exists(keys.api_token(token.token_hash)))

    return Guest(token.token_hash, valid)


async def new_ticket(store: Store, token: ApiToken) -> str:
    """A ticket that admits once, within 30 s, in the name of `token`."""
    ticket = TICKET_PREFIX + secrets.token_urlsafe(24)
    record = json.dumps([token.id, token.token_hash])
    await store.redis.set(keys.ticket(_digest(ticket)), record, ex=TICKET_SECONDS)
    return ticket


async def _by_ticket(store: Store, ticket: str) -> Guest | Refusal:
    record = await store.redis.getdel(keys.ticket(_digest(ticket)))
    if record is None:
        return Refusal("this ticket was used or is older than 30 seconds: ask for another")
    token_id, token_hash = json.loads(record)
    guest = _by_token(store, ApiToken(token_id, "", frozenset({"read"}), 0, token_hash))
    return guest if await guest.valid() else Refusal("the token behind this ticket was revoked")


def _digest(ticket: str) -> str:
    return hashlib.sha256(ticket.encode("utf-8", "replace")).hexdigest()


class Failures:
    """Counts refused handshakes per address over the last minute, in this process."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._times: OrderedDict[str, deque[float]] = OrderedDict()

    def too_many(self, address: str) -> bool:
        """Whether the address has failed 5 times within the last minute."""
        times = self._times.get(address, deque())
        while times and self._clock() - times[0] >= WINDOW:
            times.popleft()
        return len(times) >= FAILURES

    def note(self, address: str) -> None:
        """Counts a failure."""
        times = self._times.pop(address, None) or deque(maxlen=FAILURES)
        times.append(self._clock())
        self._times[address] = times
        if len(self._times) > ADDRESSES:
            self._times.popitem(last=False)

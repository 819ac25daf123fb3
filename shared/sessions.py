"""Sessions of our own pages: who signed in with a token goes on with a cookie, here, in the API and at `/ws`.

A session is a random text in an HttpOnly cookie; Redis keeps its hash with the hash of the token behind it, so a
revoked token ends its sessions at once and nothing stored lets anyone in. What changes something must also carry the
session's CSRF token, which only our own pages can read.
"""

import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from shared import auth, keys
from shared.auth import ApiToken
from shared.connection import Store

COOKIE: Final = "mp_session"
CSRF_HEADER: Final = "X-CSRF-Token"
LASTS_S: Final = 7 * 86_400
"""A week without a visit signs out."""
SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True, slots=True)
class Session:
    """Somebody who is signed in: the token behind it, and what changes must carry."""

    token: ApiToken
    csrf: str


async def start(store: Store, token: ApiToken) -> str:
    """Begins a session in the name of a token; returns the text of its cookie."""
    text = secrets.token_urlsafe(32)
    record = json.dumps([token.id, token.token_hash])
    await store.redis.set(keys.session(_digest(text)), record, ex=LASTS_S)
    return text


async def find(store: Store, cookies: Mapping[str, str], admin_token: str) -> Session | None:
    """The session of a request's cookies, which lasts a week from now; None when there is none, or its token is gone.

    `admin_token` is the one of the settings: whoever signed in by it is out when it changes.
    """
    text = cookies.get(COOKIE, "")
    if not text:
        return None
    record = await store.redis.getex(keys.session(_digest(text)), ex=LASTS_S)
    if record is None:
        return None
    token_id, token_hash = json.loads(record)
    if token_id == 0:
        same = bool(admin_token) and hmac.compare_digest(auth.hash_token(admin_token), token_hash)
        token = ApiToken(0, "admin", frozenset({"admin"}), 0, token_hash) if same else None
    else:
        token = await auth.by_hash(store, token_hash)
    return None if token is None else Session(token, csrf_of(text))


async def end(store: Store, cookies: Mapping[str, str]) -> None:
    """Signs out."""
    await store.redis.delete(keys.session(_digest(cookies.get(COOKIE, ""))))


def csrf_of(text: str) -> str:
    """The CSRF token of a session's cookie: it tells nothing of the cookie, and needs no place of its own."""
    return hmac.new(text.encode("utf-8", "replace"), b"csrf", hashlib.sha256).hexdigest()


def is_genuine(session: Session, csrf: str) -> bool:
    """Whether a change carries the session's CSRF token."""
    return hmac.compare_digest(session.csrf.encode(), csrf.encode("utf-8", "replace"))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()

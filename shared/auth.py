"""Tokens: hashing, API tokens with scopes, and the admin token of the first start."""

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

from shared import keys
from shared.connection import Store
from shared.errors import NotFound

Scope = Literal["read", "ingest", "ping", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)

PING_KEY_ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"
PING_KEY_LENGTH = 22


def hash_token(token: str) -> str:
    """SHA-256 of a token in unpadded URL-safe base 64 (43 characters): all that is ever stored of one."""
    digest = hashlib.sha256(token.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


@dataclass(frozen=True, slots=True)
class ApiToken:
    """An API token as stored; `created_at` in ms. The admin token of the settings has id 0."""

    id: int
    name: str
    scopes: frozenset[Scope]
    created_at: int
    token_hash: str

    def allows(self, scope: Scope) -> bool:
        """Whether it may do what `scope` covers; `admin` covers everything."""
        return "admin" in self.scopes or scope in self.scopes


def new_api_token(scopes: Iterable[Scope]) -> str:
    """A token text: a ping key is 22 characters of a-z0-9 as its clients expect, any other begins with `mp_`."""
    if set(scopes) == {"ping"}:
        return "".join(secrets.choice(PING_KEY_ALPHABET) for _ in range(PING_KEY_LENGTH))
    return "mp_" + secrets.token_urlsafe(32)


async def create_api_token(
    store: Store, name: str, scopes: Iterable[Scope], token: str | None = None
) -> tuple[ApiToken, str]:
    """Stores an API token and returns it with its text, which nothing can show again."""
    wanted = frozenset(scopes)
    text = token or new_api_token(wanted)
    token_id = int(await store.redis.incr(keys.ids("apitokens")))
    seconds, micros = await store.redis.time()
    created = ApiToken(token_id, name, wanted, seconds * 1000 + micros // 1000, hash_token(text))
    fields = {
        "id": str(token_id),
        "name": name,
        "scopes": json.dumps(sorted(wanted)),
        "created_at": str(created.created_at),
    }
    async with store.redis.pipeline(transaction=True) as pipe:
        pipe.hset(keys.api_token(created.token_hash), mapping=fields)
        pipe.hset(keys.API_TOKENS, str(token_id), created.token_hash)
        await pipe.execute()
    return created, text


async def list_api_tokens(store: Store) -> list[ApiToken]:
    """Every API token, oldest first."""
    directory: dict[str, str] = await store.redis.hgetall(keys.API_TOKENS)  # type: ignore[misc]
    found = [await _read(store, token_hash) for token_hash in directory.values()]
    return sorted((token for token in found if token), key=lambda token: token.id)


async def delete_api_token(store: Store, token_id: int) -> None:
    """Revokes an API token; NotFound when there is none of this id."""
    token_hash = await store.redis.hget(keys.API_TOKENS, str(token_id))  # type: ignore[misc]
    if token_hash is None:
        raise NotFound(f"there is no token {token_id}")
    async with store.redis.pipeline(transaction=True) as pipe:
        pipe.delete(keys.api_token(token_hash))
        pipe.hdel(keys.API_TOKENS, str(token_id))
        await pipe.execute()


async def authenticate(store: Store, token: str, admin_token: str = "") -> ApiToken | None:
    """The API token behind a text, or None. `admin_token` is the one of the settings, compared in constant time."""
    if admin_token and hmac.compare_digest(token.encode(), admin_token.encode()):
        return ApiToken(0, "admin", frozenset({"admin"}), 0, hash_token(token))
    return await _read(store, hash_token(token))


async def by_hash(store: Store, token_hash: str) -> ApiToken | None:
    """The API token of this hash, None when it was revoked."""
    return await _read(store, token_hash)


async def _read(store: Store, token_hash: str) -> ApiToken | None:
    fields: dict[str, str] = await store.redis.hgetall(keys.api_token(token_hash))  # type: ignore[misc]
    if not fields:
        return None
    scopes: frozenset[Scope] = frozenset(json.loads(fields["scopes"]))
    return ApiToken(int(fields["id"]), fields["name"], scopes, int(fields["created_at"]), token_hash)


async def ensure_admin_token(store: Store) -> str | None:
    """Makes an admin token when the data holds none; returns its text then, and only then.

    Of several processes that start together one makes it: the marker key is set once.
    """
    if not await store.redis.set(keys.ids("admin-token"), "made", nx=True):
        return None
    _, text = await create_api_token(store, "admin", {"admin"})
    return text

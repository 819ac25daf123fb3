"""What the HTTP services answer alike: errors, who is asking, and from where."""

import ipaddress
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Annotated, Any

import structlog
from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse
from fastapi.security import APIKeyHeader, HTTPBearer
from fastapi.security.http import HTTPAuthorizationCredentials
from pydantic import BaseModel
from redis.exceptions import RedisError
from starlette.exceptions import HTTPException
from starlette.types import Scope as AsgiScope

from shared import sessions
from shared.auth import ApiToken, Scope, authenticate
from shared.connection import UNAVAILABLE, Store
from shared.errors import Conflict, NotFound
from shared.settings import Network, Settings

log = structlog.get_logger(__name__)

RETRY_AFTER = "5"
"""Seconds a client is asked to wait while Redis is away."""


class ErrorBody(BaseModel):
    """What every error answers: a sentence that says what to do."""

    detail: str


ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"model": ErrorBody, "description": "The request was cut off"},
    401: {"model": ErrorBody, "description": "No token, or an unknown one"},
    403: {"model": ErrorBody, "description": "The token lacks the scope"},
    404: {"model": ErrorBody, "description": "There is no such thing"},
    409: {"model": ErrorBody, "description": "It clashes with what is there"},
    413: {"model": ErrorBody, "description": "The body is too large"},
    422: {"model": ErrorBody, "description": "The request is not valid"},
    429: {"model": ErrorBody, "description": "Too many unknown tokens from one address"},
    503: {"model": ErrorBody, "description": "Redis is away; try again"},
}


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The documentation of a route's error answers."""
    return {status: ERRORS[status] for status in statuses}


UNREADABLE = "There was an error parsing the body"
"""FastAPI's words for a body that breaks its parser: an encoding, a number without end, a nesting too deep."""

UNTOLD = re.compile(r"body|query|path|\w+\[.*\]")
"""What pydantic names and a client does not: the part of the request, and the kinds it had tried to read a value as."""
NO_OBJECT = "send a JSON object, with the header Content-Type: application/json"
NOTHING_THERE = "there is nothing at this path"
"""Both instead of the framework's words, which do not say what to do."""

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


@asynccontextmanager
async def _no_lifespan(_app: FastAPI) -> AsyncIterator[None]:
    yield


def create_api(title: str, store: Store, settings: Settings, lifespan: Lifespan = _no_lifespan) -> FastAPI:
    """A FastAPI app that answers errors as CONTRACT says and knows its store and settings."""
    app = FastAPI(title=title, lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.state.store = store
    app.state.settings = settings
    for kind, handler in HANDLERS.items():
        app.add_exception_handler(kind, handler)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.cors_origins),
            allow_methods=["*"],
            allow_headers=["*"],
        )
    return app


def store_of(request: Request) -> Store:
    """The app's store."""
    store: Store = request.app.state.store
    return store


def settings_of(request: Request) -> Settings:
    """The app's settings."""
    settings: Settings = request.app.state.settings
    return settings


async def _store(request: Request) -> Store:
    return store_of(request)


async def _settings(request: Request) -> Settings:
    return settings_of(request)


StoreDep = Annotated[Store, Depends(_store)]
SettingsDep = Annotated[Settings, Depends(_settings)]
"""Coroutines, like every dependency here: FastAPI hands a plain function to a thread and waits for it."""


def problem(status: int, detail: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """An error answer; lone surrogates, which no answer can carry, become `?`."""
    text = detail.encode("utf-8", "replace").decode()
    return JSONResponse({"detail": text}, status_code=status, headers=headers)


def sentence(found: Sequence[Any]) -> str:
    """The errors of pydantic as one sentence: `timeout: Input should be greater than or equal to 1`."""
    parts = []
    for item in found:
        place = ".".join(str(part) for part in item["loc"] if not UNTOLD.fullmatch(str(part)))
        text = str(item["msg"]).removeprefix("Value error, ")
        if item["type"] == "json_invalid":
            parts.append(f"the body is not JSON: {item['ctx']['error']} at character {place}")
            continue
        if item["type"] == "model_attributes_type" or (item["type"] == "missing" and not place):
            text = NO_OBJECT
        parts.append(f"{place}: {text}" if place else text)
    return "; ".join(parts) or "the request is not valid"


async def _invalid(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    return problem(422, sentence(error.errors()))


async def _http(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    if error.status_code == 400 and error.detail == UNREADABLE:
        return problem(422, "the body is not JSON in UTF-8")
    headers = dict(error.headers) if error.headers else None
    if error.status_code == 404 and error.detail == "Not Found":
        return problem(404, NOTHING_THERE, headers)
    if error.status_code == 405:
        return problem(405, f"this path takes {(headers or {}).get('Allow', 'another method')}", headers)
    return problem(error.status_code, str(error.detail), headers)


async def _not_found(_request: Request, error: Exception) -> JSONResponse:
    return problem(404, str(error))


async def _conflict(_request: Request, error: Exception) -> JSONResponse:
    return problem(409, str(error))


async def unavailable(_request: Request, _error: Exception) -> JSONResponse:
    """Redis is away: nothing was accepted, the client should come again."""
    return problem(503, "the store is not available; try again", {"Retry-After": RETRY_AFTER})


async def _failed(request: Request, error: Exception) -> JSONResponse:
    log.error("request failed", path=request.url.path, exc_info=error)
    return problem(500, "something went wrong here; the log of this service says what")


HANDLERS: dict[type[Exception], Callable[[Request, Exception], Awaitable[JSONResponse]]] = {
    RequestValidationError: _invalid,
    HTTPException: _http,
    NotFound: _not_found,
    Conflict: _conflict,
    RedisError: unavailable,
    **dict.fromkeys(UNAVAILABLE, unavailable),
    Exception: _failed,
}

_bearer = HTTPBearer(auto_error=False, description="An API token")
_api_key = APIKeyHeader(name="X-API-Key", auto_error=False, description="The same token in another header")


def requires(scope: Scope) -> Callable[..., Awaitable[ApiToken]]:
    """A dependency: the API token of the request; 401 without a valid one, 403 when it lacks `scope`.

    The session of our own pages counts as its token; what it changes must carry its CSRF token in `X-CSRF-Token`.
    """

    async def check(
        request: Request,
        bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
        api_key: Annotated[str | None, Depends(_api_key)],
    ) -> ApiToken:
        text = bearer.credentials if bearer else api_key
        if not text and sessions.COOKIE in request.cookies:
            return await _signed_in(request, scope)
        if not text:
            raise HTTPException(
                401, "send a token: Authorization: Bearer <token>", headers={"WWW-Authenticate": "Bearer"}
            )
        token = await authenticate(store_of(request), text, settings_of(request).admin_token)
        if token is None:
            raise HTTPException(401, "this token is not known here", headers={"WWW-Authenticate": "Bearer"})
        if not token.allows(scope):
            raise HTTPException(403, f"this token lacks the scope {scope}")
        return token

    return check


async def _signed_in(request: Request, scope: Scope) -> ApiToken:
    """The token behind the request's session."""
    admin_token = settings_of(request).admin_token
    session = await sessions.find(store_of(request), request.cookies, admin_token)
    if session is None:
        raise HTTPException(
            401, "the session has ended: sign in again", headers={"WWW-Authenticate": "Bearer"}
        )
    if request.method not in sessions.SAFE_METHODS and not sessions.is_genuine(
        session, request.headers.get(sessions.CSRF_HEADER, "")
    ):
        raise HTTPException(403, f"send the page's CSRF token in {sessions.CSRF_HEADER}")
    if not session.token.allows(scope):
        raise HTTPException(403, f"this token lacks the scope {scope}")
    return session.token


def client_address(scope: AsgiScope, trusted: Sequence[Network]) -> str:
    """The address a request comes from.

    The nearest address of `X-Forwarded-For` that is no trusted proxy, read from the right, for anything left of that
    is the client's own claim; the peer itself when it is not a trusted proxy.
    """
    peer = scope.get("client")
    address = peer[0] if peer else ""
    if not _is_trusted(address, trusted):
        return str(address)
    forwarded = b",".join(value for name, value in scope["headers"] if name == b"x-forwarded-for")
    for part in reversed(forwarded.decode("latin-1").split(",")):
        candidate = part.strip()
        if not candidate:
            continue
        try:
            ipaddress.ip_address(candidate)
        except ValueError:
            break
        address = candidate
        if not _is_trusted(candidate, trusted):
            break
    return str(address)


def _is_trusted(address: str, trusted: Sequence[Network]) -> bool:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address == ""  # a unix socket: only a proxy on this machine can be there
    return any(parsed in network for network in trusted)

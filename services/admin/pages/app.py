"""Every address of the pages and what answers it, as an ASGI app beside the API."""

import contextlib
from collections.abc import Awaitable, Callable
from typing import Final

import structlog
from fastapi import FastAPI
from redis.exceptions import RedisError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from services.admin.activity import Activity
from services.admin.pages import (
    badges,
    channels,
    dashboard,
    feed,
    fleet,
    incidents,
    monitor_forms,
    monitors,
    public,
    signin,
    static,
    status_settings,
    system,
    webhooks,
)
from services.admin.pages.site import (
    HEADERS,
    Denied,
    Handler,
    Visit,
    language_of,
    load_templates,
    page,
    show,
    to_sign_in,
)
from services.admin.standing import Kept
from shared import sessions
from shared.connection import UNAVAILABLE
from shared.errors import Conflict, NotFound
from shared.web import RETRY_AFTER

log = structlog.get_logger(__name__)

GET: Final = ["GET"]
POST: Final = ["POST"]
BOTH: Final = ["GET", "POST"]


def _change(path: str, handler: Handler) -> Route:
    return Route(path, page(handler, "admin"), methods=POST)


def _form(path: str, handler: Handler) -> Route:
    return Route(path, page(handler, "admin"), methods=BOTH)


def _read(path: str, handler: Handler) -> Route:
    return Route(path, page(handler), methods=GET)


def _open(path: str, handler: Handler) -> Route:
    return Route(path, page(handler, None), methods=GET)


async def _home(_request: Request) -> Response:
    return RedirectResponse("/ui", 303, HEADERS)


ROUTES: Final = (
    Route("/", _home),
    Route("/ui/static/{name}", static.file, methods=GET),
    Route("/ui/sign-in", page(signin.sign_in, None), methods=BOTH),
    Route("/ui/sign-out", page(signin.sign_out), methods=POST),
    Route("/ui/language", signin.choose_language, methods=POST),
    _read("/ui", dashboard.dashboard),
    _form("/ui/monitors/new", monitor_forms.create),
    _read("/ui/monitors/{id}", monitors.detail),
    _form("/ui/monitors/{id}/edit", monitor_forms.edit),
    _change("/ui/monitors/{id}/pause", monitors.pause),
    _change("/ui/monitors/{id}/resume", monitors.resume),
    _change("/ui/monitors/{id}/mute", monitors.mute),
    _form("/ui/monitors/{id}/rotate-token", monitors.rotate),
    _form("/ui/monitors/{id}/delete", monitors.delete),
    _read("/ui/incidents", incidents.listing),
    _read("/ui/incidents/{id}", incidents.detail),
    _read("/ui/channels", channels.listing),
    _form("/ui/channels/new", channels.create),
    _read("/ui/channels/{id:int}", channels.detail),
    _form("/ui/channels/{id:int}/edit", channels.edit),
    _form("/ui/channels/{id:int}/test", channels.test),
    _form("/ui/channels/{id:int}/delete", channels.delete),
    _change("/ui/channels/{id:int}/deliveries/{delivery:int}/redeliver", channels.redeliver),
    _read("/ui/webhooks", webhooks.listing),
    _form("/ui/webhooks/new", webhooks.create),
    _read("/ui/webhooks/{id:int}", webhooks.detail),
    _form("/ui/webhooks/{id:int}/edit", webhooks.edit),
    _form("/ui/webhooks/{id:int}/test", webhooks.test),
    _change("/ui/webhooks/{id:int}/switch", webhooks.switch),
    _form("/ui/webhooks/{id:int}/delete", webhooks.delete),
    _change("/ui/webhooks/{id:int}/deliveries/{delivery:int}/redeliver", webhooks.redeliver),
    _read("/ui/fleet", fleet.fleet),
    _read("/ui/status-pages", status_settings.listing),
    _form("/ui/status-pages/new", status_settings.create),
    _form("/ui/status-pages/{slug}/edit", status_settings.edit),
    _form("/ui/status-pages/{slug}/delete", status_settings.delete),
    _read("/ui/system", system.overview),
    _open("/status", public.status),
    _open("/status/feed", feed.rss),
    _open("/status/{slug}", public.status),
    _open("/status/{slug}/feed", feed.rss),
    _open("/badge/{name}", badges.badge),
)


async def _error_page(
    request: Request, status: int, words: str, headers: dict[str, str] | None = None
) -> Response:
    session = None
    if status < 500:
        session = await sessions.find(
            request.app.state.store, request.cookies, request.app.state.settings.admin_token
        )
    visit = Visit(request, session, language_of(request))
    return show(visit, "error.html", status, headers, code=status, words=words)


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 401:
        return to_sign_in(request)
    words = {404: "There is no such page.", 405: "This address takes no such request."}
    return await _error_page(request, error.status_code, words.get(error.status_code, error.detail))


async def _denied(request: Request, error: Exception) -> Response:
    return await _error_page(request, 403, str(error))


async def _missing(request: Request, _error: Exception) -> Response:
    return await _error_page(request, 404, "There is no such page.")


async def _conflict(request: Request, error: Exception) -> Response:
    return await _error_page(request, 409, str(error))


async def _away(request: Request, _error: Exception) -> Response:
    words = "The store does not answer just now: try again in a moment."
    return await _error_page(request, 503, words, {"Retry-After": RETRY_AFTER})


async def _failed(request: Request, error: Exception) -> Response:
    log.error("page failed", path=request.url.path, exc_info=error)
    return await _error_page(request, 500, "Something went wrong here; the log of this service says what.")


HANDLERS: dict[type[Exception] | int, Callable[[Request, Exception], Awaitable[Response]]] = {
    HTTPException: _http,
    Denied: _denied,
    NotFound: _missing,
    Conflict: _conflict,
    RedisError: _away,
    **dict.fromkeys(UNAVAILABLE, _away),
    Exception: _failed,
}


def create_pages(api: FastAPI) -> Starlette:
    """The pages over the store, settings and secrets of the API's app."""
    load_templates()
    pages = Starlette(routes=list(ROUTES), exception_handlers=HANDLERS)
    pages.state = api.state
    pages.state.activity = Activity()
    pages.state.standing = Kept()
    return pages


class Beside:
    """Sends what is a page's to the pages, and everything else on to the API."""

    def __init__(self, app: ASGIApp, pages: ASGIApp) -> None:
        self.app = app
        self.pages = pages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI entry."""
        ours = scope["type"] == "http" and is_page(scope["path"])
        if not ours:
            await self.app(scope, receive, send)
            return
        # What went wrong has been answered and logged by `_failed` when it gets here.
        with contextlib.suppress(Exception):
            await self.pages(scope, receive, send)


def is_page(path: str) -> bool:
    """Whether an address belongs to the pages."""
    return path in ("/", "/ui", "/status") or path.startswith(("/ui/", "/status/", "/badge/"))

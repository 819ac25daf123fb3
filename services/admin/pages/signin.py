"""Signing in with a token, signing out, and the choice of a language."""

import hmac
import secrets
from dataclasses import replace
from typing import Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from services.admin.links import origin
from services.admin.pages import texts
from services.admin.pages.site import (
    HEADERS,
    LANGUAGE_COOKIE,
    YEAR_S,
    Visit,
    our_path,
    read_form,
    show,
)
from shared import keys, sessions
from shared.auth import authenticate
from shared.connection import Store
from shared.web import client_address

FORM_COOKIE: Final = "mp_form"
"""Binds the sign-in form to the browser it was sent to: nobody is signed in by a form on another site."""
TRIES: Final = 5
WITHIN_S: Final = 60


async def sign_in(visit: Visit) -> Response:
    """The form, and what is sent with it."""
    if visit.request.method == "GET":
        return _form(visit)
    carried = visit.request.cookies.get(FORM_COOKIE, "")
    if not carried or not hmac.compare_digest(carried.encode(), visit.text("csrf").encode()):
        return _form(visit, 403, "This form is too old: send it again.")
    key = keys.wrong_tokens(client_address(visit.request.scope, visit.settings.trusted_proxies))
    if await _tries(visit.store, key) > TRIES:
        return _form(visit, 429, "Too many wrong tokens from your address: wait a minute.")
    token = await authenticate(visit.store, visit.text("token"), visit.settings.admin_token)
    if token is None:
        return _form(visit, 401, "This token is not known here.")
    if not token.allows("read"):
        return _form(visit, 403, "This token may not look: it needs read or admin.")
    await visit.store.redis.decr(key)
    answer = RedirectResponse(our_path(visit.text("next")), 303, HEADERS)
    text = await sessions.start(visit.store, token)
    answer.set_cookie(sessions.COOKIE, text, max_age=sessions.LASTS_S, path="/", httponly=True,
                      samesite="lax", secure=_is_https(visit))  # fmt: skip
    answer.delete_cookie(FORM_COOKIE, path="/ui/sign-in")
    return answer


async def _tries(store: Store, key: str) -> int:
    """Counts a try before it is judged, so that many at once are no way around the limit."""
    async with store.redis.pipeline(transaction=True) as pipe:
        pipe.set(key, 0, ex=WITHIN_S, nx=True)
        pipe.incr(key)
        _, count = await pipe.execute()
    return int(count)


def _form(visit: Visit, status: int = 200, problem: str = "") -> Response:
    token = visit.request.cookies.get(FORM_COOKIE) or secrets.token_urlsafe(24)
    there = our_path(visit.text("next") or visit.asked("next"))
    headers = {"Retry-After": str(WITHIN_S)} if status == 429 else {}
    answer = show(
        replace(visit, session=None),
        "signin.html",
        status,
        headers,
        form_token=token,
        problem=problem,
        next=there,
    )
    answer.set_cookie(FORM_COOKIE, token, max_age=3600, path="/ui/sign-in", httponly=True, samesite="strict",
                      secure=_is_https(visit))  # fmt: skip
    return answer


def _is_https(visit: Visit) -> bool:
    return origin(visit.request, visit.settings).startswith("https:")


async def sign_out(visit: Visit) -> Response:
    """Ends the session."""
    await sessions.end(visit.store, visit.request.cookies)
    answer = RedirectResponse("/ui/sign-in", 303, {**HEADERS, "Clear-Site-Data": '"storage"'})
    answer.delete_cookie(sessions.COOKIE, path="/")
    return answer


async def choose_language(request: Request) -> Response:
    """Remembers a language and leads back."""
    form = await read_form(request)
    wanted = form.get("to", [""])[0]
    answer = RedirectResponse(our_path(form.get("next", [""])[0]), 303, HEADERS)
    if wanted in texts.LANGUAGES:
        answer.set_cookie(LANGUAGE_COOKIE, wanted, max_age=YEAR_S, path="/", samesite="lax")
    return answer

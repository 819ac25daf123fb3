"""What every page has in common: who looks at it, in which language, its headers, and its errors."""

import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, quote, urlsplit

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from services.admin.links import origin
from services.admin.pages import drawings, texts, times
from shared import sessions
from shared.auth import Scope
from shared.connection import Store
from shared.errors import PulseError
from shared.sessions import Session
from shared.settings import Settings
from shared.version import version

FOLDER: Final = Path(__file__).parent.parent
LANGUAGE_COOKIE: Final = "mp_lang"
YEAR_S: Final = 365 * 86_400
MOST_FIELDS: Final = 2_000

HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}


class Denied(PulseError):  # noqa: N818 - the word for HTTP's 403
    """The page, or the change, is not for whoever asks; the message says why."""


@dataclass(frozen=True)
class Visit:
    """One request for a page, and who makes it."""

    request: Request
    session: Session | None
    language: str
    form: Mapping[str, list[str]] = field(default_factory=dict)

    @property
    def store(self) -> Store:
        """The app's store."""
        store: Store = self.request.app.state.store
        return store

    @property
    def settings(self) -> Settings:
        """The app's settings."""
        settings: Settings = self.request.app.state.settings
        return settings

    @property
    def may_change(self) -> bool:
        """Whether the visitor may change anything; a read token may not."""
        return self.session is not None and self.session.token.allows("admin")

    def text(self, name: str) -> str:
        """A field of the form, without the spaces around it."""
        return self.form.get(name, [""])[0].strip()

    def asked(self, name: str) -> str:
        """A parameter of the address."""
        return self.request.query_params.get(name, "").strip()

    def page_number(self) -> int:
        """Which page of a list is wanted, from 1."""
        asked = self.asked("page")
        return max(1, int(asked)) if asked.isascii() and asked.isdigit() and len(asked) < 7 else 1


Handler = Callable[[Visit], Awaitable[Response]]


def language_of(request: Request) -> str:
    """What the visitor chose, else what the browser prefers, else English."""
    chosen = request.query_params.get("lang") or request.cookies.get(LANGUAGE_COOKIE, "")
    if chosen in texts.LANGUAGES:
        return chosen
    ranked: list[tuple[float, str]] = []
    for part in request.headers.get("accept-language", "")[:500].split(","):
        name, _, weight = part.strip().partition(";q=")
        short = name.split("-")[0].lower()
        if short in texts.LANGUAGES:
            ranked.append((float(weight) if weight.replace(".", "", 1).isdecimal() else 1.0, short))
    return max(ranked, key=lambda one: one[0])[1] if ranked else "en"


def page(handler: Handler, scope: Scope | None = "read") -> Callable[[Request], Awaitable[Response]]:
    """An endpoint that answers to whoever is signed in with `scope`; None: to everybody.

    Who is not signed in is led to the sign-in. A form must carry its CSRF token.
    """

    async def endpoint(request: Request) -> Response:
        store, admin_token = request.app.state.store, request.app.state.settings.admin_token
        session = await sessions.find(store, request.cookies, admin_token)
        form: Mapping[str, list[str]] = {}
        if request.method == "POST":
            form = await read_form(request)
        visit = Visit(request, session, language_of(request), form)
        if scope is not None:
            if session is None:
                return to_sign_in(request)
            if request.method == "POST" and not sessions.is_genuine(session, visit.text("csrf")):
                raise Denied("This form is too old: go back, reload the page and send it again.")
            if not session.token.allows(scope):
                raise Denied("Your token may look at everything and change nothing.")
        return await handler(visit)

    return endpoint


async def read_form(request: Request) -> dict[str, list[str]]:
    """The fields of an urlencoded form; lone surrogates and bad bytes become U+FFFD."""
    found: dict[str, list[str]] = {}
    text = (await request.body()).decode("latin-1")
    try:
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=MOST_FIELDS, errors="replace")
    except ValueError:
        raise HTTPException(422, f"a form has at most {MOST_FIELDS} fields") from None
    for name, value in pairs:
        found.setdefault(name, []).append(value.replace("\r\n", "\n"))
    return found


def to_sign_in(request: Request) -> Response:
    """Leads to the sign-in, and from there back to this page."""
    path = request.url.path
    asked = f"{path}?{request.url.query}" if request.url.query and request.method == "GET" else path
    there = "" if request.method == "POST" or path in ("/", "/ui") else f"?next={quote(asked, safe='')}"
    return RedirectResponse(f"/ui/sign-in{there}", 303, HEADERS)


def our_path(text: str, otherwise: str = "/ui") -> str:
    """`text` when it is an address of our own pages, else `otherwise`: nobody is led away from here."""
    parts = urlsplit(text) if text.isprintable() and "\\" not in text else None
    if parts is None or parts.scheme or parts.netloc or text.startswith("//"):
        return otherwise
    return text if parts.path == "/ui" or parts.path.startswith(("/ui/", "/status")) else otherwise


def show(
    visit: Visit, template: str, status: int = 200, headers: Mapping[str, str] | None = None, **context: Any
) -> Response:
    """A page from its template."""
    body = environment().get_template(template).render(**about(visit), **context)
    every = {**HEADERS, "Cache-Control": "no-store", "Vary": "Accept-Language, Cookie", **(headers or {})}
    return Response(body.encode("utf-8", "replace"), status, every, media_type="text/html")


def about(visit: Visit) -> dict[str, Any]:
    """What every template knows."""
    language = visit.language
    translate = texts.translator(language)
    return {
        "_": translate,
        "lang": language,
        "languages": texts.LANGUAGES,
        "session": visit.session,
        "csrf": visit.session.csrf if visit.session else "",
        "may_change": visit.may_change,
        "path": visit.request.url.path,
        "here_plain": _here(visit),
        "done_word": visit.asked("done"),
        "origin": origin(visit.request, visit.settings),
        "version": version(),
        "asset": asset,
        "ago": lambda ms: times.ago(ms, times.now_ms(), translate),
        "lasting": lambda ms: times.lasting(ms, translate),
        "stamp": times.stamp,
        "script_texts": json.dumps({key: translate(key) for key in texts.FOR_SCRIPTS}),
        "draw": drawings,
    }


def _here(visit: Visit) -> str:
    """The address of this page, for coming back to it; that of a form that was sent is its own page's."""
    query = visit.request.url.query
    return visit.request.url.path + (f"?{query}" if query and visit.request.method == "GET" else "")


def go(path: str, done: str = "") -> Response:
    """Leads on after a change; `done` is the text shown there, one of `texts.DONE`."""
    there = f"{path}{'&' if '?' in path else '?'}done={done}" if done else path
    return RedirectResponse(there, 303, HEADERS)


def visible(text: str) -> Markup:
    """A text from outside as it is to be read: escaped, isolated from the direction of what stands around it.

    The characters that HTML cannot carry, NUL above all, are shown as their picture.
    """
    shown = "".join(chr(0x2400 + ord(c)) if ord(c) < 32 and c not in "\t\n" else c for c in text)
    return Markup("<bdi>{}</bdi>").format(shown.replace("\x7f", "\u2421"))


@cache
def environment() -> Environment:
    """The templates: everything is escaped, and a name that does not exist is an error."""
    found = Environment(
        loader=FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters["visible"] = visible
    found.filters["tojson_plain"] = lambda value: json.dumps(value, ensure_ascii=False, indent=1)
    found.globals["DONE"] = texts.DONE
    return found


@cache
def load_templates() -> None:
    """Makes code of every template: 0.2 s that would be the first visitors', and the heartbeats' of this process."""
    for name in environment().list_templates(extensions=("html",)):
        environment().get_template(name)


@cache
def asset(name: str) -> str:
    """The address of a static file, which changes with its content, so that browsers may keep it."""
    digest = hashlib.sha256((FOLDER / "static" / name).read_bytes()).hexdigest()[:10]
    return f"/ui/static/{name}?v={digest}"

"""The dialect of `/ping/…`: a UUID, or a ping key and a slug; plain text answers; any method.

After Healthchecks' pinging API, https://healthchecks.io/docs/http_api/.
"""

import re
from typing import Any, ClassVar, Final, NamedTuple

from starlette.types import Receive, Scope

from services.collector import registration
from services.collector.dialects import Answer, guarded, parameter, query, responses, text
from services.collector.heartbeats import ACTIONS, Heartbeats, Refused, read_body
from shared import auth, scripts
from shared.connection import Store
from shared.model import MESSAGE_BYTES, SLUG, cut_message
from shared.scripts import Kind, MonitorKeys
from shared.settings import Settings

HEADERS: Final = {"Access-Control-Allow-Origin": "*", "Ping-Body-Limit": str(MESSAGE_BYTES)}
SEGMENT: Final = re.compile(r"[A-Za-z0-9_-]{1,100}")
UUID: Final = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")

PLAIN_REFUSALS: Final = {403: (404, "not found"), 429: (429, "rate limited")}
"""A token that is nobody's is `not found` to these clients."""


class Ping(NamedTuple):
    """What a request says besides whom it is about."""

    kind: Kind
    message: str
    post: bool
    rid: str


def parse_action(action: list[str], body: bytes) -> tuple[Kind, str]:
    """The kind and message of the path's last part, if there is one, and the body; Refused with 400 for another."""
    message = cut_message(body.decode("utf-8", "replace")) if body else ""
    if not action:
        return "ok", message
    word = action[0]
    if word in ACTIONS:
        return ACTIONS[word], message
    if re.fullmatch(r"[0-9]{1,3}", word) and int(word) <= 255:
        return ("ok", message) if int(word) == 0 else ("error", message or f"exit status {int(word)}")
    raise Refused(400, "invalid url format")


def parse_rid(value: str | None) -> str:
    """The run id in lower case, so that it pairs however it is written; Refused with 400 when it is no UUID."""
    if value is None:
        return ""
    if not UUID.fullmatch(value):
        raise Refused(400, "invalid uuid format")
    return value.lower()


def split(path: str) -> list[str]:
    """The one to three parts of a path after `/ping/`; Refused with 400 for any other."""
    parts = path.removeprefix(PingDialect.PREFIX).removesuffix("/").split("/")
    if len(parts) > 3 or not all(SEGMENT.fullmatch(part) for part in parts):
        raise Refused(400, "invalid url format")
    return parts


def refuse(refused: Refused) -> Answer:
    """A refusal as plain text."""
    status, detail = PLAIN_REFUSALS.get(refused.status, (refused.status, refused.detail))
    return text(status, detail, HEADERS | refused.headers)


class PingDialect:
    """Answers `/ping/{token}` and `/ping/{ping_key}/{slug}`, each with an action after it or none."""

    PREFIX: ClassVar[str] = "/ping/"

    def __init__(self, store: Store, settings: Settings, beats: Heartbeats) -> None:
        self._store = store
        self._settings = settings
        self._beats = beats

    async def respond(self, scope: Scope, receive: Receive) -> Answer:
        """The answer to one ping."""
        return await guarded(self._ping(scope, receive), refuse)

    async def _ping(self, scope: Scope, receive: Receive) -> Answer:
        parts = split(scope["path"])
        given = query(scope)
        rid = parse_rid(given.get("rid"))
        body = await read_body(receive)
        if len(parts) == 1 or (len(parts) == 2 and self._beats.knows(parts[0])):
            return await self._by_token(scope, parts, body, rid)
        with self._beats.looked_up.held():
            # The first part is a token when some monitor has it, for its own token may look like a ping key.
            if len(parts) == 2 and await self._beats.resolve(parts[0]):
                return await self._by_token(scope, parts, body, rid)
            ping = Ping(*parse_action(parts[2:], body), scope["method"] == "POST", rid)
            create = given.get("create") == "1"
            created = await self._by_slug(scope, parts[0], parts[1], ping, create=create)
            return text(201, "Created", HEADERS) if created else text(200, "OK", HEADERS)

    async def _by_token(self, scope: Scope, parts: list[str], body: bytes, rid: str) -> Answer:
        kind, message = parse_action(parts[1:], body)
        post = scope["method"] == "POST"
        await self._beats.beat(scope, parts[0], kind, post=post, rid=rid, message=message)
        return text(200, "OK", HEADERS)

    async def _by_slug(self, scope: Scope, key: str, slug: str, ping: Ping, *, create: bool) -> bool:
        """Beats the one monitor with this slug; True when it was created for that."""
        token = await auth.authenticate(self._store, key, self._settings.admin_token)
        if token is None or not token.allows("ping"):
            raise self._beats.refuse_unknown(scope)
        created = False
        found = await registration.by_slug(self._store, slug)
        if not found and create:
            if not SLUG.fullmatch(slug):
                raise Refused(400, "invalid url format")
            found, created = await registration.create_by_slug(self._store, slug)
        await beat_one(self._beats, found, ping)
        return created


async def beat_one(beats: Heartbeats, found: list[MonitorKeys], ping: Ping) -> None:
    """Beats the only monitor of a slug; Refused when there is none or more than one."""
    if len(found) > 1:
        raise Refused(409, "ambiguous slug")
    if not found:
        raise Refused(404, "not found")
    result = await beats.submit(found[0], ping.kind, post=ping.post, rid=ping.rid, message=ping.message)
    if result == scripts.UNKNOWN_TOKEN:  # deleted, or its token changed, since it was looked up a moment ago
        raise Refused(503, "the monitor is being changed; try again", {"Retry-After": "1"})
    if result == scripts.BROKEN:
        raise Refused(500, "this monitor's record is damaged; the log of the collector names it")


def _operations(name: str, *parameters: Any) -> dict[str, Any]:
    """The same operation for each method that OpenAPI can describe and a pinging client uses."""
    common = [
        *parameters,
        parameter("rid", "pairs a start with its end", {"type": "string", "format": "uuid"}),
    ]
    described = responses(
        "text/plain",
        _200="`OK`: recorded",
        _201="`Created`: the monitor was created and recorded",
        _400="`invalid url format` or `invalid uuid format`",
        _404="`not found`",
        _409="`ambiguous slug`",
        _413="The body is over 1 MiB; up to 10,000 bytes of it are kept",
        _429="Too many unknown tokens from one address",
        _503="Redis is away; try again",
    )
    return {
        method: {
            "operationId": f"{name}_{method}",
            "tags": ["ping"],
            "summary": "A heartbeat in the dialect of /ping",
            "parameters": common,
            "responses": described,
        }
        for method in ("get", "post", "put")
    }


_TOKEN = parameter("uuid", "the monitor's token", place="path")
_KEY = parameter("ping_key", "a token with the scope ping", place="path")
_SLUG = parameter("slug", "the monitor's slug", place="path")
_ACTION = parameter("action", "start, fail, log, or an exit status from 0 to 255", place="path")
_CREATE = parameter("create", "1 creates the monitor when no other has this slug")
PATHS: Final[dict[str, Any]] = {
    "/ping/{uuid}": _operations("ping", _TOKEN),
    "/ping/{uuid}/{action}": _operations("ping_action", _TOKEN, _ACTION),
    "/ping/{ping_key}/{slug}/{action}": _operations("ping_slug_action", _KEY, _SLUG, _ACTION, _CREATE),
}

"""The dialect of `/p/{key}/{monitor}?state=run|complete|fail|ok&message=&status_code=&series=`; any method.

After Cronitor's telemetry API. The key is a token with the scope `ping`, and the monitor its slug or token; or the key
is the monitor's own token, and the second part is for people who read logs.
"""

import re
from typing import Any, ClassVar, Final

from starlette.types import Receive, Scope

from services.collector import registration
from services.collector.dialects import Answer, guarded, parameter, query, responses, text
from services.collector.dialects.ping import Ping, beat_one
from services.collector.heartbeats import Heartbeats, Refused
from shared import auth
from shared.connection import Store
from shared.model import cut_message
from shared.scripts import Kind
from shared.settings import Settings

STATES: Final[dict[str, Kind]] = {"": "ok", "ok": "ok", "complete": "ok", "run": "start", "fail": "error"}
STATUS_CODE: Final = re.compile(r"-?[0-9]{1,10}")
PATH: Final = re.compile(r"/p/([^/]+)/([^/]+)/?")


def refuse(refused: Refused) -> Answer:
    """A refusal as plain text."""
    return text(refused.status, refused.detail, refused.headers)


def parse(given: dict[str, str], *, post: bool) -> Ping:
    """What the query says; Refused with 400 for a state or status code that is none.

    `complete` with a status code other than 0 is a failure. `series` pairs a run with its end.
    """
    kind = STATES.get(given.get("state", ""))
    if kind is None:
        raise Refused(400, "state must be run, complete, fail or ok")
    code = given.get("status_code", "")
    if code and not STATUS_CODE.fullmatch(code):
        raise Refused(400, "status_code must be an integer")
    if kind == "ok" and code and int(code) != 0:
        kind = "error"
    message = given.get("message", "")
    if kind == "error" and not message and code:
        message = f"exit status {int(code)}"
    return Ping(kind, cut_message(message), post, given.get("series", "")[:64])


class RunDialect:
    """Answers `/p/{key}/{monitor}`; `host`, `metric` and the like are taken and not kept."""

    PREFIX: ClassVar[str] = "/p/"

    def __init__(self, store: Store, settings: Settings, beats: Heartbeats) -> None:
        self._store = store
        self._settings = settings
        self._beats = beats

    async def respond(self, scope: Scope, _receive: Receive) -> Answer:
        """The answer to one report."""
        return await guarded(self._report(scope), refuse)

    async def _report(self, scope: Scope) -> Answer:
        found = PATH.fullmatch(scope["path"])
        if found is None:
            raise Refused(404, "the path is /p/{key}/{monitor}")
        ping = parse(query(scope), post=scope["method"] == "POST")
        key, name = found.groups()
        if self._beats.knows(key):
            await self._by_token(scope, key, ping)
        else:
            with self._beats.looked_up.held():
                await self._look_up(scope, key, name, ping)
        return text(200, "OK")

    async def _look_up(self, scope: Scope, key: str, name: str, ping: Ping) -> None:
        if await self._beats.resolve(key):
            await self._by_token(scope, key, ping)
            return
        token = await auth.authenticate(self._store, key, self._settings.admin_token)
        if token is None or not token.allows("ping"):
            raise self._beats.refuse_unknown(scope)
        # The slug first: some other monitor's token may read the same.
        by_slug = await registration.by_slug(self._store, name)
        if not by_slug and await self._beats.resolve(name):
            await self._by_token(scope, name, ping)
        else:
            await beat_one(self._beats, by_slug, ping)

    async def _by_token(self, scope: Scope, token: str, ping: Ping) -> None:
        await self._beats.beat(scope, token, ping.kind, post=ping.post, rid=ping.rid, message=ping.message)


_OPERATION = {
    "tags": ["run"],
    "summary": "A heartbeat in the dialect of /p",
    "parameters": [
        parameter("key", "a token with the scope ping, or the monitor's token", place="path"),
        parameter("monitor", "the monitor's slug, or its token", place="path"),
        parameter("state", "`ok` when absent", {"type": "string", "enum": ["run", "complete", "fail", "ok"]}),
        parameter("message", "the message"),
        parameter("status_code", "an exit status", {"type": "integer"}),
        parameter("series", "pairs a run with its end"),
    ],
    "responses": responses(
        "text/plain",
        _200="`OK`: recorded",
        _400="`state` or `status_code` is not valid",
        _403="The key is not known",
        _404="No monitor has this slug or token",
        _409="Several monitors have this slug",
        _429="Too many unknown keys from one address",
        _503="Redis is away; try again",
    ),
}
PATHS: Final[dict[str, Any]] = {
    "/p/{key}/{monitor}": {
        method: _OPERATION | {"operationId": f"run_{method}"} for method in ("get", "post", "put")
    }
}

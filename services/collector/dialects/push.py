"""The dialect of `/api/push/{token}?status=up|down&msg=&ping=`: JSON answers with `ok`; any method.

After Uptime Kuma's push monitors.
"""

from typing import Any, ClassVar, Final

import orjson
from starlette.types import Receive, Scope

from services.collector.dialects import JSON, Answer, guarded, parameter, query, raw, responses
from services.collector.heartbeats import Heartbeats, Refused, answer
from shared.connection import Store
from shared.model import cut_message
from shared.scripts import Kind
from shared.settings import Settings

UNKNOWN = Refused(404, "Monitor not found or not active.")


def _json(status: int, content: dict[str, Any], headers: dict[str, str]) -> Answer:
    return answer(status, orjson.dumps(content), JSON, (b"access-control-allow-origin", b"*"), *raw(headers))


OK = answer(200, b'{"ok": true}', JSON, (b"access-control-allow-origin", b"*"))


def refuse(refused: Refused) -> Answer:
    """A refusal as these clients know it; a token that is nobody's is not found."""
    known = UNKNOWN if refused.status == 403 else refused
    return _json(known.status, {"ok": False, "msg": known.detail}, known.headers)


class PushDialect:
    """Answers `/api/push/{token}`; the round-trip time `ping` is not kept."""

    PREFIX: ClassVar[str] = "/api/push/"

    def __init__(self, _store: Store, _settings: Settings, beats: Heartbeats) -> None:
        self._beats = beats

    async def respond(self, scope: Scope, _receive: Receive) -> Answer:
        """The answer to one push."""
        return await guarded(self._push(scope), refuse)

    async def _push(self, scope: Scope) -> Answer:
        token = scope["path"].removeprefix(self.PREFIX).removesuffix("/")
        given = query(scope)
        # A bare URL is up; anything else that is not `up` is an error (CONTRACT 2).
        kind: Kind = "ok" if given.get("status", "") in ("", "up") else "error"
        message = cut_message(given.get("msg", ""))
        await self._beats.beat(scope, token, kind, post=scope["method"] == "POST", message=message)
        return OK


_OPERATION = {
    "tags": ["push"],
    "summary": "A heartbeat in the dialect of /api/push",
    "parameters": [
        parameter("token", "the monitor's token", place="path"),
        parameter("status", "`up`, also when absent; anything else is an error"),
        parameter("msg", "the message"),
        parameter("ping", "a round-trip time in ms; taken and not kept"),
    ],
    "responses": responses(
        "application/json",
        _200='`{"ok": true}`',
        _404='`{"ok": false, "msg": "Monitor not found or not active."}`',
        _429="Too many unknown tokens from one address",
        _503="Redis is away; try again",
    ),
}
PATHS: Final[dict[str, Any]] = {
    "/api/push/{token}": {
        method: _OPERATION | {"operationId": f"push_{method}"} for method in ("get", "post", "put")
    }
}

"""The dialect of `POST /api/v1/endpoints/{group_name}/external?success=true|false&error=&duration=`.

After Gatus' external endpoints. The monitor's token stands in `Authorization: Bearer` and alone says which monitor is
meant; the key in the path, the endpoint's group and name joined by `_`, is for people who read logs.
"""

import re
from typing import Any, ClassVar, Final

from starlette.types import Receive, Scope

from services.collector.dialects import Answer, guarded, parameter, query, responses, text
from services.collector.heartbeats import Heartbeats, Refused
from shared.connection import Store
from shared.model import cut_message
from shared.scripts import Kind
from shared.settings import Settings

PATH = re.compile(r"/api/v1/endpoints/[^/]*_[^/]*/external/?")
DURATION = re.compile(r"[-+]?(?:0|(?:(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))+)", re.ASCII)
"""As Go writes durations: `1m30s`, `250ms`."""


def refuse(refused: Refused) -> Answer:
    """A refusal as plain text; a token that is nobody's is 401."""
    if refused.status == 403:
        return text(401, "invalid token", {"WWW-Authenticate": "Bearer"})
    return text(refused.status, refused.detail, refused.headers)


def bearer_token(scope: Scope) -> str:
    """The token of the request; Refused with 401 when there is none."""
    value = next((value for name, value in scope["headers"] if name == b"authorization"), b"").decode(
        "latin-1"
    )
    kind, _, token = value.partition(" ")
    challenge = {"WWW-Authenticate": "Bearer"}
    if kind.lower() != "bearer":
        raise Refused(401, "invalid Authorization header", challenge)
    if not token.strip():
        raise Refused(401, "bearer token must not be empty", challenge)
    return token.strip()


class BearerDialect:
    """Answers `/api/v1/endpoints/{group_name}/external`; a duration is checked and not kept."""

    PREFIX: ClassVar[str] = "/api/v1/endpoints/"

    def __init__(self, _store: Store, _settings: Settings, beats: Heartbeats) -> None:
        self._beats = beats

    async def respond(self, scope: Scope, _receive: Receive) -> Answer:
        """The answer to one report."""
        return await guarded(self._report(scope), refuse)

    async def _report(self, scope: Scope) -> Answer:
        if not PATH.fullmatch(scope["path"]):
            raise Refused(404, "not found")
        if scope["method"] != "POST":
            raise Refused(405, "use POST", {"Allow": "POST"})
        given = query(scope)
        success = given.get("success")
        if success not in ("true", "false"):
            raise Refused(400, "missing or invalid success query parameter")
        token = bearer_token(scope)
        duration = given.get("duration", "")
        if duration and not DURATION.fullmatch(duration):
            raise Refused(400, "invalid duration: write it like 250ms or 1m30s")
        message = cut_message(given.get("error", "")) if success == "false" else ""
        kind: Kind = "ok" if success == "true" else "error"
        await self._beats.beat(scope, token, kind, post=True, message=message)
        return text(200, "")


PATHS: Final[dict[str, Any]] = {
    "/api/v1/endpoints/{group_name}/external": {
        "post": {
            "operationId": "external_endpoint",
            "tags": ["bearer"],
            "summary": "A heartbeat in the dialect of external endpoints",
            "security": [{"HTTPBearer": []}],
            "parameters": [
                parameter("group_name", "group and name joined by `_`", place="path"),
                parameter("success", "true or false", {"type": "string", "enum": ["true", "false"]})
                | {"required": True},
                parameter("error", "the message of a failure"),
                parameter("duration", "how long the check took, such as 250ms; taken and not kept"),
            ],
            "responses": responses(
                "text/plain",
                _200="Recorded; the body is empty",
                _400="`success` or `duration` is not valid",
                _401="No token, or one that no monitor has",
                _404="The key has no `_`",
                _429="Too many unknown tokens from one address",
                _503="Redis is away; try again",
            ),
        }
    }
}

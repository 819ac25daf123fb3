"""The way of a heartbeat: request → token → batch → script → answer. The hot path, and nothing else.

Plain ASGI: a FastAPI route with its dependencies costs more than everything below together.
"""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qs

import orjson
import structlog
from redis.exceptions import RedisError
from starlette.types import Message, Receive, Scope

from services.collector.batching import Batcher, Outcome
from services.collector.inflight import InFlight
from services.collector.limits import UnknownTokens
from shared import metrics, monitors, scripts, web
from shared.auth import hash_token
from shared.connection import UNAVAILABLE, Store
from shared.model import TOKEN, cut_message
from shared.scripts import Beat, Kind, MonitorKeys
from shared.settings import Settings

log = structlog.get_logger(__name__)

PREFIX: Final = "/api/heartbeat/"
BODY_LIMIT: Final = 1024 * 1024
CACHED_TOKENS: Final = 1_000_000
"""Tokens kept resolved, 630 bytes each of those that come. Beyond it the oldest goes and costs look-ups when it comes
again; with fewer places than monitors that would be nearly every time, for they come in turn."""

LOOKED_UP_WITHIN: Final = 0.25
"""Seconds for which `settled` waits for look-ups: they may ask a node that hangs while this shard's does not."""

STATUSES: Final[dict[Any, Kind]] = {"ok": "ok", "warning": "warning", "error": "error"}
ACTIONS: Final[dict[str, Kind]] = {"start": "start", "fail": "error", "log": "log"}


REASONS: Final = {403: "unknown_token", 413: "too_large", 429: "limited"}


class Refused(Exception):  # noqa: N818 - an answer, not a fault
    """The request ends here with this status and sentence."""

    def __init__(self, status: int, detail: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = headers or {}


def answer(
    status: int, body: bytes, content_type: bytes, *extra: tuple[bytes, bytes]
) -> tuple[Message, Message]:
    """The two ASGI messages of a whole response; made once where it is always the same."""
    headers = [(b"content-type", content_type), (b"content-length", str(len(body)).encode()), *extra]
    return (
        {"type": "http.response.start", "status": status, "headers": headers},
        {"type": "http.response.body", "body": body},
    )


ACCEPTED: Final = answer(200, b'{"result": "ok"}', b"application/json")


async def read_body(receive: Receive, limit: int = BODY_LIMIT) -> bytes:
    """The whole request body; Refused with 413 when it is above `limit` bytes."""
    message = await receive()
    if message["type"] == "http.disconnect":  # else a report that never came would count as an empty body: ok
        raise Refused(400, "the request was cut off")
    body: bytes = message.get("body", b"")
    if not message.get("more_body"):
        if len(body) > limit:
            raise Refused(413, f"the body is over {limit} bytes")
        return body
    chunks, size = [body], len(body)
    while message.get("more_body"):
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Refused(400, "the request was cut off")
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
        if size > limit:
            raise Refused(413, f"the body is over {limit} bytes")
    return b"".join(chunks)


class Heartbeat(NamedTuple):
    """What a request says."""

    token: str
    kind: Kind
    message: str


def parse_action(action: str) -> Kind:
    """The kind that a path's last part stands for; Refused with 404 for none."""
    kind = ACTIONS.get(action)
    if kind:
        return kind
    if action.isascii() and action.isdigit() and int(action[:4]) <= 255 and len(action) <= 3:
        return "ok" if int(action) == 0 else "error"
    raise Refused(
        404, "the path ends in a token, or in start, fail, log or an exit status from 0 to 255 after it"
    )


def parse_report(body: bytes) -> tuple[Kind, str]:
    """The kind and message of a JSON body; Refused with 422 for anything else."""
    try:
        report = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise Refused(422, 'the body is not JSON; send {"status": "ok"}') from None
    if not isinstance(report, dict):
        raise Refused(422, 'the body must be an object such as {"status": "ok"}')
    status = report.get("status")
    kind = STATUSES.get(status) if isinstance(status, str) else None
    if kind is None:
        raise Refused(422, "status must be ok, warning or error")
    message = report.get("message")
    if message is None:
        return kind, ""
    if not isinstance(message, str):
        raise Refused(422, "message must be a string")
    return kind, cut_message(message)


def free_text(body: bytes) -> str:
    """The message of a body that need not be JSON: its `message` when it is an object with one, else its text."""
    if body[:1] == b"{":
        try:
            message = orjson.loads(body).get("message")
        except orjson.JSONDecodeError:
            message = None
        if isinstance(message, str):
            return cut_message(message)
    return cut_message(body.decode("utf-8", "replace"))


def parse(path: str, method: str, body: bytes) -> Heartbeat:
    """What a request to `/api/heartbeat/…` says."""
    token, _, action = path[len(PREFIX) :].partition("/")
    if action:
        return Heartbeat(token, parse_action(action), free_text(body) if method == "POST" else "")
    if method != "POST" or not body:
        return Heartbeat(token, "ok", "")
    return Heartbeat(token, *parse_report(body))


class Heartbeats:
    """Takes heartbeats from any dialect to Redis, and is the ASGI app of `/api/heartbeat/…` itself."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._settings = settings
        self._batcher = Batcher(store)
        self._known: dict[str, MonitorKeys] = {}
        self.accepted = 0
        self.looked_up = InFlight()
        """Requests that look their monitor up. All look-ups of one are held together, or it counts until the first."""
        self._unknown = UnknownTokens()

    def knows(self, token: str) -> bool:
        """Whether a token needs no look-up."""
        return token in self._known

    async def resolve(self, token: str) -> MonitorKeys | None:
        """The monitor of a token, from the cache or the token directory; None when it is nobody's."""
        found = self._known.get(token)
        if found is None and TOKEN.fullmatch(token):
            token_hash = hash_token(token)
            with self.looked_up.held():
                monitor_id = await monitors.find_by_token(self._store, token_hash)
            if monitor_id is not None:
                found = scripts.monitor_keys(self._store, monitor_id, token_hash)
                if len(self._known) >= CACHED_TOKENS:
                    del self._known[next(iter(self._known))]
                self._known[token] = found
        return found

    def refuse_unknown(self, scope: Scope) -> Refused:
        """The answer to an unknown token: 403, or 429 when its address has sent too many of them."""
        address = web.client_address(scope, self._settings.trusted_proxies)
        if self._unknown.over(address):
            return Refused(
                429, "too many unknown tokens from your address; wait a minute", {"Retry-After": "60"}
            )
        return Refused(403, "this token is not known here; it may have been revoked")

    async def submit(
        self, monitor: MonitorKeys, kind: Kind, *, post: bool = True, rid: str = "", message: str = ""
    ) -> int:
        """Records one heartbeat with all others of this moment: `RECORDED`, `IGNORED`, `UNKNOWN_TOKEN` or `BROKEN`.

        Raises redis-py's errors while Redis is away: nothing was acknowledged then.
        """
        result = await self._batcher.submit(Beat(monitor, kind, post, rid, message))
        return scripts.RECORDED if result == scripts.CHANGED else result

    async def beat(
        self, scope: Scope, token: str, kind: Kind, *, post: bool, rid: str = "", message: str = ""
    ) -> MonitorKeys:
        """Resolves the token and records the heartbeat; Refused when the token is nobody's (any more)."""
        for _ in range(2):  # a cached token that was moved is looked up once more
            monitor = self._known.get(token) or await self.resolve(token)
            if monitor is None:
                break
            result = await self._batcher.submit(Beat(monitor, kind, post, rid, message))
            if result >= scripts.IGNORED:
                return monitor
            if result == scripts.BROKEN:
                log.error("the record of a monitor is damaged", monitor=monitor.monitor_id)
                raise Refused(500, "this monitor's record is damaged; the log of the collector names it")
            self._known.pop(token, None)
        raise self.refuse_unknown(scope)

    def take(self, token: str, body: bytes, done: Callable[[Outcome], None], *, post: bool) -> bool:
        """Records a heartbeat of a token that is known already; `done` is called with the outcome later.

        False, and nothing is done, for all that needs a longer look: an unknown token, a path that says more, a body
        that is not valid.
        """
        monitor = self._known.get(token)
        if monitor is None:
            return False
        kind: Kind = "ok"
        message = ""
        if post and body:
            try:
                kind, message = parse_report(body)
            except Refused:
                return False
        self._batcher.add(Beat(monitor, kind, post, "", message), done)
        return True

    async def respond(self, scope: Scope, receive: Receive) -> tuple[Message, Message]:
        """The answer to `GET`, `HEAD` or `POST /api/heartbeat/{token}[/start|/fail|/log|/{exit status}]`.

        Errors become their answers here, without a framework.
        """
        try:
            method = scope["method"]
            if method not in ("POST", "GET", "HEAD"):
                return refusal(Refused(405, "use POST, GET or HEAD", {"Allow": "POST, GET, HEAD"}))
            body = await read_body(receive) if method == "POST" else b""
            token, kind, message = parse(scope["path"], method, body)
            rid = run_id(scope["query_string"]) if scope["query_string"] else ""
            await self.beat(scope, token, kind, post=method == "POST", rid=rid, message=message)
        except Refused as refused:
            metrics.REFUSED.labels(REASONS.get(refused.status, "invalid")).inc()
            return refusal(refused)
        except (RedisError, *UNAVAILABLE) as error:
            return unavailable(error)
        return ACCEPTED

    async def settled(self, shard: int) -> None:
        """Waits until each heartbeat that is here now is recorded, also one whose monitor is just being looked up."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOKED_UP_WITHIN):
                await self.looked_up.ended()
        await self._batcher.settled(shard)

    async def close(self) -> None:
        """Waits for the heartbeats under way."""
        await self._batcher.drain()


def run_id(query: bytes) -> str:
    """The `rid` that pairs a start with its end: at most 64 characters are kept."""
    values = parse_qs(query.decode("latin-1")).get("rid")
    return values[0][:64] if values else ""


def refusal(refused: Refused) -> tuple[Message, Message]:
    """The JSON answer of a refusal."""
    extra = [(name.lower().encode(), value.encode()) for name, value in refused.headers.items()]
    return answer(refused.status, orjson.dumps({"detail": refused.detail}), b"application/json", *extra)


def unavailable(error: Exception) -> tuple[Message, Message]:
    """Redis is away: nothing was accepted, the client should come again."""
    metrics.count_redis_error(error)
    metrics.REFUSED.labels("unavailable").inc()
    detail = "the store is not available; try again"
    return refusal(Refused(503, detail, {"Retry-After": web.RETRY_AFTER}))

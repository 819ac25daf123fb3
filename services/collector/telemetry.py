"""Signed telemetry of shops: `POST /heartbeat`."""

import hashlib
from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, HTTPException, Request, Response
from pydantic import BaseModel

from services.collector import bodies, registration, strict
from services.collector.heartbeats import Heartbeats
from services.collector.strict import InvalidError
from shared import keys, metrics, scripts, web
from shared.connection import Store
from shared.events import canonical
from shared.scripts import MonitorKeys, RunArgument
from shared.settings import Settings

BODY_LIMIT = 16 * 1024
"""Twenty times what shops send; 10,000 shops then fill 160 MB at worst."""
SKEW_MS = 10 * 60 * 1000
REPLAY_MS = 2 * SKEW_MS + 60_000
"""A body may come from `SKEW_MS` before its timestamp until `SKEW_MS` after it, and counts once in all that time."""
MAX_DOMAIN = 253
MAX_HEADER = 100

TELEMETRY = {result: metrics.TELEMETRY.labels(result) for result in ("accepted", "replayed", "full")}
REFUSED = {reason: metrics.REFUSED.labels(reason) for reason in ("invalid", "signature")}


class Received(BaseModel):
    """The telemetry was taken, now or when the same body came before."""

    status: str = "ok"


def taken() -> Response:
    """The answer, byte for byte as clients know it."""
    return Response('{"status": "ok"}', media_type="application/json")


def parse(body: bytes) -> tuple[str, int, dict[str, Any]]:
    """Domain, time in ms and whole report of a signed body; InvalidError when it is no telemetry."""
    report = strict.parse(body)
    if isinstance(report, strict.Flaw):
        raise InvalidError(f"the report {report.detail}")
    if not isinstance(report, dict):
        raise InvalidError(
            'the body must be an object such as {"domain": "shop.example", "timestamp": 1760616000}'
        )
    strict.encode(report, "the report")
    domain = report.get("domain")
    domain = domain.strip().lower() if isinstance(domain, str) else ""
    if not domain or len(domain) > MAX_DOMAIN or not domain.isprintable():
        raise InvalidError(
            f"domain must be a host name of 1 to {MAX_DOMAIN} characters, such as shop.example"
        )
    return domain, strict.timestamp_ms(report.get("timestamp")), report


async def _signed_body(request: Request, settings: Settings) -> bytes:
    if not settings.heartbeat_secret:
        raise HTTPException(503, "telemetry is switched off here: PULSE_HEARTBEAT_SECRET is not set")
    body = await bodies.read(request, BODY_LIMIT)
    given = bodies.signatures(request, settings.signature_headers)
    if not bodies.signed(body, given, settings.heartbeat_secret):
        REFUSED["signature"].inc()
        wrong = "is not that of this body under PULSE_HEARTBEAT_SECRET" if given else "is missing"
        where = settings.signature_headers[0] if settings.signature_headers else "PULSE_SIGNATURE_HEADERS"
        raise HTTPException(401, f"the signature {wrong}: send the HMAC-SHA256 of the body as hex in {where}")
    return body


async def _now(store: Store) -> int:
    seconds, micros = await store.redis.time()
    return int(seconds * 1000 + micros // 1000)


async def _beat(store: Store, settings: Settings, beats: Heartbeats, domain: str) -> MonitorKeys:
    """Beats the shop's monitor, which is made if need be; once more when it was deleted in between."""
    for _ in range(3):
        try:
            monitor = await registration.shop(
                store,
                domain,
                timeout_ms=int(settings.telemetry_timeout * 1000),
                at_most=settings.telemetry_max,
            )
        except registration.FullError:
            TELEMETRY["full"].inc()
            most = f"{settings.telemetry_max:,} shops have registered here, and no more may"
            raise HTTPException(403, f"{most}: raise PULSE_TELEMETRY_MAX") from None
        if monitor:
            result = await beats.submit(monitor, "ok")
            if result in (scripts.RECORDED, scripts.IGNORED):
                return monitor
            if result == scripts.BROKEN:
                raise HTTPException(500, "this shop's monitor is damaged; the log of the collector names it")
    raise HTTPException(503, "the shop's monitor is being changed; try again", headers={"Retry-After": "5"})


async def receive(request: Request, store: web.StoreDep, settings: web.SettingsDep) -> Response:
    """Takes a shop's telemetry and beats its monitor.

    1. The signature over the raw body decides who speaks, the timestamp (10 minutes either way) whether it is new.
    2. A body that came before changes nothing: a retry is harmless, a replay useless.
    3. A new domain becomes a monitor, tagged `telemetry`, with no channels.
    4. The monitor is beaten, then the report and the body's digest are kept in one step: a process that dies before
       that has answered nothing, and the client's retry counts.
    """
    body = await _signed_body(request, settings)
    try:
        domain, at, report = parse(body)
    except InvalidError as error:
        REFUSED["invalid"].inc()
        raise HTTPException(422, str(error)) from None
    replay = keys.replay(hashlib.sha256(body).hexdigest())
    beats: Heartbeats = request.app.state.beats
    with beats.looked_up.held():
        now = await _now(store)
        if abs(now - at) > SKEW_MS:
            REFUSED["signature"].inc()
            raise HTTPException(
                401, "the timestamp is more than 10 minutes off; set the clock of the shop's server"
            )
        if await store.redis.exists(replay):
            TELEMETRY["replayed"].inc()
            return taken()
        monitor = await _beat(store, settings, beats, domain)
    versions = version_headers(request.headers, settings)
    entry = {"monitor": monitor.monitor_id, "at": now, "report": report, "headers": versions}
    arguments: list[RunArgument] = [domain, monitor.monitor_id, canonical(entry), REPLAY_MS]
    await scripts.run(store.redis, "keep_telemetry", [keys.TELEMETRY, replay], arguments)
    TELEMETRY["accepted"].inc()
    return taken()


def version_headers(headers: Mapping[str, str], settings: Settings) -> dict[str, str]:
    """The version headers that came, by their names in the settings."""
    return {name: headers[name][:MAX_HEADER] for name in settings.version_headers if headers.get(name)}


_REPORT = {
    "type": "object",
    "required": ["domain", "timestamp"],
    "properties": {
        "domain": {"type": "string", "minLength": 1, "maxLength": MAX_DOMAIN},
        "timestamp": {"type": ["string", "number"]},
        **{name: {} for name in ("bot_username", "php_version", "module_version", "version", "version_core")},
    },
}


def routes() -> APIRouter:
    """`POST /heartbeat`."""
    router = APIRouter(tags=["telemetry"])
    router.add_api_route(
        "/heartbeat",
        receive,
        methods=["POST"],
        operation_id="telemetry",
        response_model=Received,
        responses=web.errors(400, 401, 403, 413, 422, 503),
        openapi_extra={
            "requestBody": {"required": True, "content": {"application/json": {"schema": _REPORT}}},
            "security": [{"Signature": []}],
        },
    )
    return router

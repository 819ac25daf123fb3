"""`/api/monitors`: creating, finding, changing, pausing and muting them."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import Field, model_validator

from services.admin.links import heartbeat_url
from services.admin.monitor_list import Wanted, find
from services.admin.monitor_shapes import (
    MonitorIn,
    MonitorMade,
    MonitorOut,
    MonitorPatch,
    Token,
    changes,
    channels_seen,
    channels_text,
    check_cron,
    ms,
    shown,
)
from services.admin.shapes import Asked, Limit, Listing, Offset
from shared import channels_store, monitors, scripts
from shared.connection import Store
from shared.errors import NotFound
from shared.model import Monitor, Status
from shared.monitors import NewMonitor
from shared.web import SettingsDep, StoreDep, errors, requires

router = APIRouter(prefix="/api/monitors", tags=["monitors"])
READ = Depends(requires("read"))
ADMIN = Depends(requires("admin"))

MAX_MUTE_MS = 10 * 366 * 86_400_000
"""Ten years: longer is a mistake in a unit."""


class MuteIn(Asked):
    """Until when nobody is told: one of the two; null unmutes."""

    until: Annotated[datetime, Field(strict=False)] | None = None
    seconds: Annotated[float, Field(gt=0, le=MAX_MUTE_MS / 1000)] | None = None

    @model_validator(mode="after")
    def _one(self) -> "MuteIn":
        if len(self.model_fields_set) != 1:
            raise ValueError('send either "until" or "seconds"; null unmutes')
        return self


class TokenIn(Asked):
    """The token that a monitor is to have; absent: a new UUID."""

    token: Token | None = None


def invalid(field: str, text: str) -> RequestValidationError:
    """A 422 about one field, for what only the data can tell."""
    return RequestValidationError(
        [{"type": "value_error", "loc": ("body", field), "msg": text, "input": None}]
    )


async def answer(store: Store, monitor: Monitor) -> MonitorOut:
    """A monitor as clients see it."""
    deadline = await monitors.deadlines(store, [monitor.id])
    return MonitorOut(**shown(monitor, deadline[monitor.id]))


async def check_channels(store: Store, channels: list[int] | str | None, kept: str = "") -> None:
    """Refuses ids that are no channel, except those that the monitor has already (`kept`, as stored)."""
    if isinstance(channels, list):
        wanted = set(channels) - set(channels_seen(kept) if kept != "*" else ())
        unknown = await channels_store.missing(store, wanted)
        if unknown:
            raise invalid("channels", f"there is no channel {min(unknown)}; GET /api/channels lists them")


@router.post("", status_code=201, dependencies=[ADMIN], responses=errors(401, 403, 409, 413, 422, 503))
async def create_monitor(
    request: Request, body: MonitorIn, store: StoreDep, settings: SettingsDep
) -> MonitorMade:
    """Creates a monitor; its token is in this answer and never again."""
    await check_channels(store, body.channels)
    new = NewMonitor(
        name=body.name,
        timeout=ms(body.timeout),
        grace=ms(body.grace),
        token=body.token,
        slug=body.slug,
        schedule=body.schedule or "",
        timezone=body.timezone or "",
        methods=body.methods or "",
        tags=body.tags,
        channels=channels_text(body.channels),
    )
    monitor, token = await monitors.create(store, new)
    return MonitorMade(
        **shown(monitor, None), token=token, heartbeat_url=heartbeat_url(request, settings, token)
    )


@router.get("", dependencies=[READ], responses=errors(401, 403, 422, 503))
async def list_monitors(
    store: StoreDep,
    tag: Annotated[str | None, Query(max_length=50)] = None,
    status: Status | None = None,
    q: Annotated[str | None, Query(max_length=255, description="part of a name, slug or id")] = None,
    limit: Limit = 50,
    offset: Offset = 0,
) -> Listing[MonitorOut]:
    """The monitors, oldest first."""
    found, total = await find(store, Wanted(tag, status, q), limit, offset)
    due = await monitors.deadlines(store, [monitor.id for monitor in found])
    items = [MonitorOut(**shown(monitor, due[monitor.id])) for monitor in found]
    return Listing(items=items, total=total, limit=limit, offset=offset)


@router.get("/{monitor_id}", dependencies=[READ], responses=errors(401, 403, 404, 503))
async def get_monitor(monitor_id: str, store: StoreDep) -> MonitorOut:
    """One monitor."""
    return await answer(store, await monitors.get(store, monitor_id))


@router.patch("/{monitor_id}", dependencies=[ADMIN], responses=errors(401, 403, 404, 413, 422, 503))
async def change_monitor(monitor_id: str, body: MonitorPatch, store: StoreDep) -> MonitorOut:
    """Changes what is sent; null puts an optional field back to its default."""
    monitor = await monitors.get(store, monitor_id)
    await check_channels(store, body.channels, monitor.channels)
    fields = changes(body)
    try:
        check_cron(fields.get("schedule", monitor.schedule), fields.get("timezone", monitor.timezone))
    except ValueError as error:
        raise invalid("timezone" if "schedule" not in fields else "schedule", str(error)) from None
    if fields:
        monitor = await monitors.update(store, monitor, fields)
    return await answer(store, monitor)


@router.delete("/{monitor_id}", status_code=204, dependencies=[ADMIN], responses=errors(401, 403, 404, 503))
async def delete_monitor(monitor_id: str, store: StoreDep) -> Response:
    """Deletes a monitor with its heartbeats, history and incidents; its token is refused from then on."""
    await monitors.delete(store, await monitors.get(store, monitor_id))
    return Response(status_code=204)


@router.post("/{monitor_id}/pause", dependencies=[ADMIN], responses=errors(401, 403, 404, 503))
async def pause_monitor(monitor_id: str, store: StoreDep) -> MonitorOut:
    """Pauses a monitor: heartbeats change nothing, silence is not noticed, an open incident closes."""
    if await scripts.pause_monitor(store, monitor_id, "pause") is None:
        raise NotFound(f"there is no monitor {monitor_id}")
    return await answer(store, await monitors.get(store, monitor_id))


@router.post("/{monitor_id}/resume", dependencies=[ADMIN], responses=errors(401, 403, 404, 503))
async def resume_monitor(monitor_id: str, store: StoreDep) -> MonitorOut:
    """Resumes a paused monitor: it is new again, and due after its whole timeout if it was ever heard."""
    if await scripts.pause_monitor(store, monitor_id, "resume") is None:
        raise NotFound(f"there is no monitor {monitor_id}")
    return await answer(store, await monitors.get(store, monitor_id))


@router.post("/{monitor_id}/mute", dependencies=[ADMIN], responses=errors(401, 403, 404, 413, 422, 503))
async def mute_monitor(monitor_id: str, body: MuteIn, store: StoreDep) -> MonitorOut:
    """Tells nobody about this monitor for a while: `{"seconds": 3600}`, `{"until": "…Z"}`; null unmutes.

    Statuses, incidents and events go on as ever.
    """
    monitor = await monitors.get(store, monitor_id)
    until = await _mute_end(store, body)
    monitor = await monitors.update(store, monitor, {"muted": "" if until is None else str(until)})
    return await answer(store, monitor)


async def _mute_end(store: Store, body: MuteIn) -> int | None:
    whole, micros = await store.redis.time()
    now = whole * 1000 + micros // 1000
    if body.seconds is not None:
        return int(now + ms(body.seconds))
    if body.until is None:
        return None
    at = body.until if body.until.tzinfo else body.until.replace(tzinfo=UTC)
    end = ms(at.timestamp())
    if not now < end <= now + MAX_MUTE_MS:
        raise invalid("until", "it must lie in the future, and at most ten years from now")
    return end


@router.post(
    "/{monitor_id}/rotate-token", dependencies=[ADMIN], responses=errors(401, 403, 404, 409, 413, 422, 503)
)
async def rotate_token(
    request: Request,
    monitor_id: str,
    store: StoreDep,
    settings: SettingsDep,
    body: TokenIn | None = None,
) -> MonitorMade:
    """Gives a monitor a new token, shown this once; the old one is refused from then on."""
    monitor = await monitors.get(store, monitor_id)
    token = await monitors.rotate_token(store, monitor, body.token if body else None)
    seen = await answer(store, await monitors.get(store, monitor_id))
    return MonitorMade(
        **seen.model_dump(), token=token, heartbeat_url=heartbeat_url(request, settings, token)
    )

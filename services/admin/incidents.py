"""`/api/incidents`, and what a monitor's own pages show of its past: heartbeats, incidents, uptime."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel

from services.admin import past
from services.admin.monitor_shapes import seconds
from services.admin.past import Heartbeat
from services.admin.shapes import Limit, Listing, Offset, Time
from services.admin.timeline import Entry, timeline
from services.admin.uptime import (
    COUNTED,
    DAY,
    PERIODS,
    Days,
    Incident,
    date_of,
    percent,
    split,
    up_and_down,
    with_current,
)
from shared import monitors
from shared.events import iso
from shared.model import Monitor, Status
from shared.web import StoreDep, errors, requires

router = APIRouter(tags=["incidents"], dependencies=[Depends(requires("read"))])


class MonitorName(BaseModel):
    """Which monitor an incident is about."""

    id: str
    name: str
    slug: str
    tags: list[str]
    status: Status


class IncidentOut(BaseModel):
    """A time of error or silence. `status` and `reason` are those that opened it; duration in seconds, so far.

    `worst_status` is dead if the monitor was dead at any time of it, `last_status` the last one before it closed.
    """

    id: str
    monitor: MonitorName
    status: str
    reason: str
    worst_status: str
    last_status: str
    opened_at: Time
    closed_at: Time | None
    duration: float


class IncidentDetail(IncidentOut):
    """An incident with what happened, oldest first."""

    timeline: list[Entry]


class Uptime(BaseModel):
    """`uptime` in percent, null when nothing counted; seconds up (alive, warning) and down (error, dead)."""

    uptime: float | None
    up: float
    down: float


class DayOut(Uptime):
    """One UTC day with the seconds in each status."""

    date: str
    statuses: dict[str, float]


class UptimeOut(BaseModel):
    """The periods 24h, 7d, 30d and 90d back from now, and each day, oldest first.

    Time as new or paused counts for neither up nor down.
    """

    periods: dict[str, Uptime]
    days: list[DayOut]


class HeartbeatOut(BaseModel):
    """A heartbeat; `status` is null for start and log, which are none; `duration` of its run in seconds."""

    at: Time
    kind: str
    status: str | None
    message: str | None
    duration: float | None


def shown(incident: Incident, monitor: Monitor, now: int) -> IncidentOut:
    """An incident as clients see it."""
    about = MonitorName(
        id=monitor.id, name=monitor.name, slug=monitor.slug, tags=list(monitor.tags), status=monitor.status
    )
    return IncidentOut(
        id=incident.id,
        monitor=about,
        status=incident.status,
        reason=incident.reason,
        worst_status=incident.worst,
        last_status=incident.last,
        opened_at=iso(incident.opened) or "",
        closed_at=iso(incident.closed),
        duration=seconds((now if incident.closed is None else incident.closed) - incident.opened),
    )


def heartbeat_shown(beat: Heartbeat) -> HeartbeatOut:
    """A heartbeat as clients see it."""
    return HeartbeatOut(
        at=iso(beat.at) or "",
        kind=beat.kind,
        status=beat.status,
        message=beat.message or None,
        duration=None if beat.took is None else seconds(beat.took),
    )


@router.get("/api/incidents", responses=errors(401, 403, 422, 503))
async def list_incidents(
    store: StoreDep,
    open: Annotated[bool | None, Query(description="only open ones, or only closed ones")] = None,  # noqa: A002 - CONTRACT's word
    limit: Limit = 50,
    offset: Annotated[int, Query(ge=0, le=past.DEEPEST)] = 0,
) -> Listing[IncidentOut]:
    """Incidents of all monitors, newest first."""
    page = await past.incidents(store, limit, offset, is_open=open)
    now = await past.now(store)
    items = [shown(incident, monitor, now) for incident, monitor in page.items]
    return Listing(items=items, total=page.total, limit=limit, offset=offset)


@router.get("/api/incidents/{incident_id}", responses=errors(401, 403, 404, 503))
async def get_incident(incident_id: str, store: StoreDep) -> IncidentDetail:
    """One incident with its timeline: the last heartbeats, the transition, the messages, the recovery."""
    incident, monitor = await past.incident(store, incident_id)
    head = shown(incident, monitor, await past.now(store))
    return IncidentDetail(**head.model_dump(), timeline=await timeline(store, incident, monitor))


@router.get("/api/monitors/{monitor_id}/heartbeats", responses=errors(401, 403, 404, 422, 503))
async def list_heartbeats(
    monitor_id: str,
    store: StoreDep,
    limit: Annotated[int, Query(ge=1, le=100)] = 100,
    offset: Annotated[int, Query(ge=0, le=100)] = 0,
) -> Listing[HeartbeatOut]:
    """The newest heartbeats, at most 100, newest first."""
    await monitors.get(store, monitor_id)
    beats = [heartbeat_shown(beat) for beat in await past.heartbeats(store, monitor_id)]
    return Listing(items=beats[offset : offset + limit], total=len(beats), limit=limit, offset=offset)


@router.get("/api/monitors/{monitor_id}/incidents", responses=errors(401, 403, 404, 422, 503))
async def list_monitor_incidents(
    monitor_id: str, store: StoreDep, limit: Limit = 50, offset: Offset = 0
) -> Listing[IncidentOut]:
    """A monitor's incidents, newest first; at least the newest 100 are kept, the others for 400 days."""
    monitor = await monitors.get(store, monitor_id)
    _, found = split(monitor_id, await past.history(store, monitor_id))
    now = await past.now(store)
    items = [shown(incident, monitor, now) for incident in found[offset : offset + limit]]
    return Listing(items=items, total=len(found), limit=limit, offset=offset)


@router.get("/api/monitors/{monitor_id}/uptime", responses=errors(401, 403, 404, 422, 503))
async def get_uptime(
    monitor_id: str,
    store: StoreDep,
    days: Annotated[int, Query(ge=1, le=400, description="how many days the grid goes back")] = 90,
) -> UptimeOut:
    """How much of its time a monitor was up: alive or warning is up, error or dead is down."""
    monitor = await monitors.get(store, monitor_id)
    spent, found = split(monitor_id, await past.history(store, monitor_id))
    now = await past.now(store)
    whole = with_current(spent, monitor.status, monitor.since, now)
    periods = {
        name: _uptime(*up_and_down(whole, found, now - length, now)) for name, length in PERIODS.items()
    }
    today = now // DAY
    return UptimeOut(periods=periods, days=[_day(whole, day) for day in range(today - days + 1, today + 1)])


def _uptime(up: int, down: int) -> Uptime:
    return Uptime(uptime=percent(up, down), up=seconds(up), down=seconds(down))


def _day(days: Days, day: int) -> DayOut:
    spent = days.get(day, {})
    up, down = up_and_down({day: spent}, (), (day - 1) * DAY, (day + 1) * DAY)
    statuses: dict[str, float] = {
        name: seconds(spent[name]) for name in (*COUNTED, "paused") if name in spent
    }
    return DayOut(**_uptime(up, down).model_dump(), date=date_of(day), statuses=statuses)

"""A monitor's page, and what can be done to it there."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

from fastapi.exceptions import RequestValidationError
from starlette.responses import Response

from services.admin import incidents, past
from services.admin import monitors as api
from services.admin.monitors import MuteIn
from services.admin.pages import drawings
from services.admin.pages.site import Visit, go, show
from services.admin.pages.times import parse
from services.admin.uptime import split
from shared import channels_store, monitors
from shared.model import Monitor

DAYS: Final = 90
BEATS: Final = 30
INCIDENTS: Final = 20
MUTES: Final = ("3600", "14400", "86400", "604800")


async def detail(visit: Visit) -> Response:
    """Everything about one monitor."""
    monitor = await _monitor(visit)
    deadline = (await monitors.deadlines(visit.store, [monitor.id]))[monitor.id]
    beats = await past.heartbeats(visit.store, monitor.id)
    days = int(visit.asked("days")) if visit.asked("days") in ("30", "90", "365") else DAYS
    uptime = await incidents.get_uptime(monitor.id, visit.store, days)
    _, found = split(monitor.id, await past.history(visit.store, monitor.id))
    now = await past.now(visit.store)
    return show(
        visit,
        "monitor.html",
        monitor=monitor,
        deadline=deadline,
        muted=monitor.muted is not None and monitor.muted > now,
        channels=await _channels(visit, monitor),
        uptime=uptime,
        grid=drawings.grid(uptime.days),
        days=days,
        incidents=[incidents.shown(one, monitor, now) for one in found[:INCIDENTS]],
        incident_count=len(found),
        beats=beats[:BEATS],
        bar=[(beat.at, beat.kind) for beat in reversed(beats)],
        mutes=MUTES,
        parse=parse,
    )


async def _channels(visit: Visit, monitor: Monitor) -> list[Any] | None:
    """The channels that are told; None for every one."""
    if monitor.channels == "*":
        return None
    known = await channels_store.load(visit.store)
    return [known[int(one)] for one in monitor.channels.split(",") if one and int(one) in known]


async def _monitor(visit: Visit) -> Monitor:
    return await monitors.get(visit.store, visit.request.path_params["id"])


async def pause(visit: Visit) -> Response:
    """Pauses it."""
    return await _done(visit, "paused", lambda one: api.pause_monitor(one, visit.store))


async def resume(visit: Visit) -> Response:
    """Resumes it."""
    return await _done(visit, "resumed", lambda one: api.resume_monitor(one, visit.store))


async def mute(visit: Visit) -> Response:
    """Tells nobody about it for a while, or tells again."""
    asked = visit.text("seconds")
    body = MuteIn(seconds=float(asked)) if asked in MUTES else MuteIn(seconds=None)
    word = "muted" if asked in MUTES else "unmuted"
    return await _done(visit, word, lambda one: api.mute_monitor(one, body, visit.store))


async def _done(visit: Visit, word: str, act: Callable[[str], Awaitable[object]]) -> Response:
    monitor_id = visit.request.path_params["id"]
    await act(monitor_id)
    return go(f"/ui/monitors/{monitor_id}", word)


async def delete(visit: Visit) -> Response:
    """Asks whether it is meant, and deletes it."""
    monitor = await _monitor(visit)
    if visit.request.method == "POST":
        await api.delete_monitor(monitor.id, visit.store)
        return go("/ui", "deleted")
    return show(
        visit,
        "confirm.html",
        question="Delete this monitor?",
        name=monitor.name,
        explanation="Its heartbeats, history and incidents go with it, and its token is refused from then on.",
        button="Delete",
        back=f"/ui/monitors/{monitor.id}",
    )


async def rotate(visit: Visit) -> Response:
    """Asks whether it is meant, gives it a new token, and shows that this once."""
    monitor = await _monitor(visit)
    if visit.request.method == "POST":
        try:
            made = await api.rotate_token(visit.request, monitor.id, visit.store, visit.settings)
        except RequestValidationError:
            return go(f"/ui/monitors/{monitor.id}")
        return show(visit, "token.html", monitor=made, is_new=False)
    return show(
        visit,
        "confirm.html",
        question="Give it a new token?",
        name=monitor.name,
        explanation="The old token is refused from then on: whatever beats with it must be changed.",
        button="New token",
        back=f"/ui/monitors/{monitor.id}",
    )

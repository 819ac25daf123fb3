"""The form of a monitor: creating and editing it."""

from typing import Any

from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.responses import Response

from services.admin import monitors as api
from services.admin.monitor_shapes import MonitorIn, MonitorPatch, channels_seen, seconds
from services.admin.pages.forms import Form, errors_of, number, words
from services.admin.pages.site import Visit, go, show
from shared import channels_store, monitors
from shared.errors import Conflict
from shared.model import Monitor

EMPTY = {
    "name": "",
    "kind": "interval",
    "timeout": 300,
    "grace": 0,
    "schedule": "",
    "timezone": "",
    "slug": "",
    "token": "",
    "methods": "",
    "tags": "",
    "all_channels": True,
    "channels": [],
}


async def create(visit: Visit) -> Response:
    """The empty form; what it holds becomes a monitor, whose token is shown this once."""
    form = Form(dict(EMPTY))
    if visit.request.method == "GET":
        return await _form(visit, form, None)
    _take(visit, form)
    fields = _fields(form)
    if form.values["token"]:
        fields["token"] = form.values["token"]
    if not form.values["slug"]:
        del fields["slug"]
    try:
        made = await api.create_monitor(
            visit.request,
            MonitorIn(**fields),
            visit.store,
            visit.settings,
        )
    except (ValidationError, RequestValidationError) as error:
        form.blame(errors_of(error))
    except Conflict as error:
        form.errors["token"] = str(error)
    else:
        return show(visit, "token.html", 201, monitor=made, is_new=True)
    return await _form(visit, form, None)


async def edit(visit: Visit) -> Response:
    """The form of a monitor that is there."""
    monitor = await monitors.get(visit.store, visit.request.path_params["id"])
    form = Form(_values(monitor))
    if visit.request.method == "POST":
        _take(visit, form)
        try:
            await api.change_monitor(monitor.id, MonitorPatch(**_fields(form)), visit.store)
        except (ValidationError, RequestValidationError) as error:
            form.blame(errors_of(error))
        else:
            return go(f"/ui/monitors/{monitor.id}", "saved")
    return await _form(visit, form, monitor)


async def _form(visit: Visit, form: Form, monitor: Monitor | None) -> Response:
    known = list((await channels_store.load(visit.store)).values())
    return show(
        visit,
        "monitor_form.html",
        422 if form.errors else 200,
        form=form,
        monitor=monitor,
        channels=known,
    )


def _values(monitor: Monitor) -> dict[str, Any]:
    """A monitor as its form holds it."""
    told = channels_seen(monitor.channels)
    return {
        **EMPTY,
        "name": monitor.name,
        "kind": "cron" if monitor.schedule else "interval",
        "timeout": seconds(monitor.timeout),
        "grace": seconds(monitor.grace),
        "schedule": monitor.schedule,
        "timezone": monitor.timezone,
        "slug": monitor.slug,
        "methods": monitor.methods,
        "tags": ", ".join(monitor.tags),
        "all_channels": told == "*",
        "channels": [] if told == "*" else told,
    }


def _take(visit: Visit, form: Form) -> None:
    """What was sent, as the form holds it."""
    for name in (
        "name",
        "kind",
        "timeout",
        "grace",
        "schedule",
        "timezone",
        "slug",
        "token",
        "methods",
        "tags",
    ):
        form.values[name] = visit.text(name)
    form.values["all_channels"] = visit.text("all_channels") == "yes"
    form.values["channels"] = [int(one) for one in visit.form.get("channels", ()) if one.isdecimal()]


def _fields(form: Form) -> dict[str, Any]:
    """The form as the API takes it; what its kind has no use for is left out."""
    values, cron = form.values, form.values["kind"] == "cron"
    return {
        "name": values["name"],
        **({} if cron else {"timeout": number(values["timeout"])}),
        "grace": number(values["grace"] or "0"),
        "schedule": values["schedule"] if cron else "",
        "timezone": values["timezone"] if cron else "",
        "slug": values["slug"],
        "methods": values["methods"],
        "tags": words(values["tags"]),
        "channels": "*" if values["all_channels"] else values["channels"],
    }

"""Channels: the list, one with its deliveries, its test, and its form."""

from typing import Any, Final

from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.responses import Response

from services.admin import channels as api
from services.admin.channel_shapes import ChannelIn, ChannelPatch, attempt_shown, delivery_shown
from services.admin.pages import texts
from services.admin.pages.forms import Form, errors_of, headers_of, lines_of, words
from services.admin.pages.paging import Paging
from services.admin.pages.site import Visit, go, show
from services.admin.pages.times import parse
from shared import channels, channels_store, delivery_history
from shared.channels import DEFAULT_EVENTS, KINDS, Channel
from shared.events import MONITOR_EVENTS, OTHER_OWN_EVENTS

ON_A_PAGE: Final = 25
STATES: Final = ("pending", "success", "failed")
FIELDS: Final = {
    "telegram": ("bot_token", "chat_id", "api_base"),
    "email": ("to", "smtp_url", "from"),
    "webhook": ("url", "secret", "headers"),
    "apprise": ("url",),
}


async def listing(visit: Visit) -> Response:
    """Every channel with its counters."""
    every = list((await channels_store.load(visit.store)).values())
    stats = await delivery_history.stats(visit.store, [one.target for one in every]) if every else []
    return show(visit, "channels.html", channels=list(zip(every, stats, strict=True)))


async def detail(visit: Visit) -> Response:
    """One channel and its deliveries."""
    channel = await _channel(visit)
    return await _detail(visit, channel, None)


async def _detail(visit: Visit, channel: Channel, tested: Any) -> Response:
    state = visit.asked("status") if visit.asked("status") in STATES else ""
    wanted = visit.page_number()
    page = await delivery_history.listing(
        visit.store,
        channel.target,
        status=state or None,  # type: ignore[arg-type]
        limit=ON_A_PAGE,
        offset=(wanted - 1) * ON_A_PAGE,
    )
    shown = [await _delivery(visit, channel, one.number) for one in page.items]
    (stats,) = await delivery_history.stats(visit.store, [channel.target])
    return show(
        visit,
        "channel.html",
        channel=channel,
        config=channels.shown(channel, visit.request.app.state.box),
        stats=stats,
        deliveries=[one for one in shown if one],
        state=state,
        states=STATES,
        paging=Paging(wanted, page.total, ON_A_PAGE, f"/ui/channels/{channel.id}?status={state}"),
        tested=tested,
        parse=parse,
    )


async def _delivery(visit: Visit, channel: Channel, number: int) -> dict[str, Any]:
    found = await delivery_history.get(visit.store, channel.target, number)
    return {**delivery_shown(channel.id, found), "attempts": [attempt_shown(one) for one in found.attempts]}


async def test(visit: Visit) -> Response:
    """Sends a test for real and shows what happened; who only comes back to this address is led to the channel."""
    channel = await _channel(visit)
    if visit.request.method == "GET":
        return go(f"/ui/channels/{channel.id}")
    return await _detail(visit, channel, await api.test_channel(channel.id, visit.store))


async def redeliver(visit: Visit) -> Response:
    """Sends one delivery once more."""
    channel = await _channel(visit)
    await api.redeliver(channel.id, visit.request.path_params["delivery"], visit.store)
    return go(f"/ui/channels/{channel.id}", "redelivered")


async def delete(visit: Visit) -> Response:
    """Asks whether it is meant, and deletes it."""
    channel = await _channel(visit)
    if visit.request.method == "POST":
        await api.delete_channel(channel.id, visit.store)
        return go("/ui/channels", "deleted")
    return show(
        visit,
        "confirm.html",
        question="Delete this channel?",
        name=channel.name,
        explanation="Its deliveries go with it; monitors that name it simply do not tell it any more.",
        button="Delete",
        back=f"/ui/channels/{channel.id}",
    )


async def create(visit: Visit) -> Response:
    """The form of a new channel; its type is chosen first."""
    kind = visit.text("type") or visit.asked("type")
    if kind not in KINDS:
        return show(visit, "channel_kinds.html", kinds=KINDS)
    form = Form({**dict.fromkeys(FIELDS[kind], ""), "name": "", "events": list(DEFAULT_EVENTS),
                 "language": visit.language, "muted": False, "type": kind})  # fmt: skip
    if visit.request.method == "POST":
        _take(visit, form, kind)
        try:
            body = ChannelIn(**_fields(form), type=kind, config=_config(form, kind))
            made = await api.create_channel(body, visit.store, visit.request.app.state.box)
        except (ValidationError, RequestValidationError) as error:
            _blame(form, error)
        else:
            return go(f"/ui/channels/{made.id}", "created")
    return _form(visit, form, kind, None)


async def edit(visit: Visit) -> Response:
    """The form of a channel that is there; its secrets come masked and stay when they are sent so."""
    channel = await _channel(visit)
    kind = channel.type
    seen = channels.shown(channel, visit.request.app.state.box)
    values = {name: _written(seen.get(name)) for name in FIELDS[kind]}
    form = Form({**values, "name": channel.name, "events": list(channel.events), "language": channel.language,
                 "muted": channel.muted, "type": kind})  # fmt: skip
    if visit.request.method == "POST":
        _take(visit, form, kind)
        config = dict.fromkeys(seen) | _config(form, kind)
        try:
            body = ChannelPatch(**_fields(form), config=config)
            await api.change_channel(channel.id, body, visit.store, visit.request.app.state.box)
        except (ValidationError, RequestValidationError) as error:
            _blame(form, error)
        else:
            return go(f"/ui/channels/{channel.id}", "saved")
    return _form(visit, form, kind, channel)


def _form(visit: Visit, form: Form, kind: str, channel: Channel | None) -> Response:
    return show(
        visit,
        "channel_form.html",
        422 if form.errors else 200,
        form=form,
        kind=kind,
        channel=channel,
        offered=(*MONITOR_EVENTS, *OTHER_OWN_EVENTS, "monitor.*", "*"),
        languages_offered=texts.LANGUAGES,
    )


async def _channel(visit: Visit) -> Channel:
    return await channels_store.get(visit.store, visit.request.path_params["id"])


def _take(visit: Visit, form: Form, kind: str) -> None:
    for name in (*FIELDS[kind], "name"):
        form.values[name] = visit.text(name)
    form.values["language"] = visit.text("language") or form.values["language"]
    form.values["events"] = [*visit.form.get("events", ()), *words(visit.text("more_events"))]
    form.values["muted"] = visit.text("muted") == "yes"


def _fields(form: Form) -> dict[str, Any]:
    return {name: form.values[name] for name in ("name", "events", "language", "muted")}


def _config(form: Form, kind: str) -> dict[str, Any]:
    """The config as the API takes it; an empty field is none."""
    found: dict[str, Any] = {name: form.values[name] for name in FIELDS[kind] if form.values[name]}
    if "headers" in found:
        found["headers"] = headers_of(found["headers"])
    if "to" in found:
        found["to"] = words(found["to"])
    return found


def _written(value: Any) -> str:
    """A config's field as its input holds it."""
    if isinstance(value, dict):
        return lines_of(value)
    return ", ".join(value) if isinstance(value, list | tuple) else str(value or "")


def _blame(form: Form, error: ValidationError | RequestValidationError) -> None:
    for item in errors_of(error):
        if len(item["loc"]) > 1 and item["loc"][-1] == "":
            form.blame_sentence(str(item["msg"]))
        else:
            form.blame([item])

"""Webhooks: the list, one with its history, and its form, all through the public API of the webhooks service."""

import asyncio
import json
from typing import Any, Final

from starlette.exceptions import HTTPException
from starlette.responses import Response

from services.admin.neighbours import ask
from services.admin.pages.forms import Form
from services.admin.pages.paging import Paging
from services.admin.pages.site import Visit, go, show
from services.admin.pages.times import parse

ON_A_PAGE: Final = 25
STATES: Final = ("pending", "success", "failed")
REFUSED: Final = (400, 409, 422)


async def _ask(visit: Visit, method: str, path: str, **more: Any) -> Any:
    """The answer as JSON; an HTTPException for what is no matter of a form."""
    assert visit.session is not None
    answer = await ask(visit.request, visit.session, method, path, **more)
    if answer.status_code >= 400:
        detail = answer.json().get("detail", "") if "json" in answer.headers.get("content-type", "") else ""
        raise HTTPException(answer.status_code, str(detail))
    return json.loads(answer.text) if answer.content else None


async def listing(visit: Visit) -> Response:
    """Every webhook with its counters."""
    wanted = visit.page_number()
    query = {"limit": 100, "offset": (wanted - 1) * 100}
    found = await _ask(visit, "GET", "/webhooks", query=query)
    stats = await _ask(visit, "GET", "/webhooks/stats")
    paging = Paging(wanted, found["total"], 100, "/ui/webhooks?")
    return show(visit, "webhooks.html", webhooks=found["items"], stats=stats, paging=paging, parse=parse)


async def detail(visit: Visit) -> Response:
    """One webhook and its history."""
    return await _detail(visit, None)


async def _detail(visit: Visit, tested: Any, problem: str = "") -> Response:
    path = _path(visit)
    webhook = await _ask(visit, "GET", path)
    state = visit.asked("status") if visit.asked("status") in STATES else ""
    wanted = visit.page_number()
    query = {"limit": ON_A_PAGE, "offset": (wanted - 1) * ON_A_PAGE, **({"status": state} if state else {})}
    page = await _ask(visit, "GET", f"{path}/deliveries", query=query)
    items = await asyncio.gather(
        *(_ask(visit, "GET", f"{path}/deliveries/{one['id']}") for one in page["items"])
    )
    return show(
        visit,
        "webhook.html",
        webhook=webhook,
        deliveries=items,
        state=state,
        states=STATES,
        paging=Paging(wanted, page["total"], ON_A_PAGE, f"/ui{path}?status={state}"),
        tested=tested,
        problem=problem,
        parse=parse,
    )


async def test(visit: Visit) -> Response:
    """Sends a test event and shows what happened; who only comes back to this address is led to the webhook."""
    if visit.request.method == "GET":
        return go(f"/ui{_path(visit)}")
    try:
        found = await _ask(visit, "POST", f"{_path(visit)}/test")
    except HTTPException as error:
        if error.status_code not in REFUSED:
            raise
        return await _detail(visit, None, error.detail)
    return await _detail(visit, found)


async def redeliver(visit: Visit) -> Response:
    """Sends one delivery once more."""
    path = _path(visit)
    await _ask(visit, "POST", f"{path}/deliveries/{visit.request.path_params['delivery']}/redeliver")
    return go(f"/ui{path}", "redelivered")


async def switch(visit: Visit) -> Response:
    """Switches it on or off."""
    on = visit.text("active") == "yes"
    await _ask(visit, "PATCH", _path(visit), body={"is_active": on})
    return go(f"/ui{_path(visit)}", "activated" if on else "deactivated")


async def delete(visit: Visit) -> Response:
    """Asks whether it is meant, and deletes it."""
    webhook = await _ask(visit, "GET", _path(visit))
    if visit.request.method == "POST":
        await _ask(visit, "DELETE", _path(visit))
        return go("/ui/webhooks", "deleted")
    return show(
        visit,
        "confirm.html",
        question="Delete this webhook?",
        name=webhook["name"],
        explanation="Its deliveries go with it.",
        button="Delete",
        back=f"/ui{_path(visit)}",
    )


async def create(visit: Visit) -> Response:
    """The form of a new webhook."""
    empty = {"name": "", "url": "", "event_type": "", "secret": "", "description": "", "is_active": True}
    form = Form(empty)
    if visit.request.method == "POST":
        _take(visit, form)
        form.values["event_type"] = visit.text("event_type")
        made = await _send(visit, form, "POST", "/webhooks", dict(form.values))
        if made is not None:
            return go(f"/ui/webhooks/{made['id']}", "created")
    return await _form(visit, form, None)


async def edit(visit: Visit) -> Response:
    """The form of a webhook that is there: its event type is fixed, its secret can only be written."""
    webhook = await _ask(visit, "GET", _path(visit))
    form = Form({**webhook, "secret": "", "description": webhook["description"] or ""})
    if visit.request.method == "POST":
        _take(visit, form)
        names = ("name", "url", "description", "is_active", "secret")
        body: dict[str, Any] = {name: form.values[name] for name in names}
        if visit.text("no_secret") == "yes":
            body["secret"] = None
        if await _send(visit, form, "PATCH", _path(visit), body) is not None:
            return go(f"/ui{_path(visit)}", "saved")
    return await _form(visit, form, webhook)


async def _send(visit: Visit, form: Form, method: str, path: str, body: dict[str, Any]) -> Any:
    """What was made or changed; None when the API refused it, with its words beside the fields."""
    try:
        return await _ask(visit, method, path, body=body)
    except HTTPException as error:
        if error.status_code not in REFUSED:
            raise
        form.blame_sentence(error.detail)
        return None


async def _form(visit: Visit, form: Form, webhook: Any) -> Response:
    types = await _ask(visit, "GET", "/webhooks/event-types")
    status = 422 if form.errors else 200
    return show(visit, "webhook_form.html", status, form=form, webhook=webhook, types=types)


def _take(visit: Visit, form: Form) -> None:
    for name in ("name", "url", "description", "secret"):
        form.values[name] = visit.text(name)
    form.values["is_active"] = visit.text("is_active") == "yes"


def _path(visit: Visit) -> str:
    return f"/webhooks/{visit.request.path_params['id']}"

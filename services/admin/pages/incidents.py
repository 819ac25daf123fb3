"""Incidents: the list, and one with its timeline."""

from typing import Final

from starlette.responses import Response

from services.admin import incidents, past
from services.admin.pages.paging import Paging
from services.admin.pages.site import Visit, show
from services.admin.pages.times import parse
from services.admin.timeline import timeline

ON_A_PAGE: Final = 50
STATES: Final = {"open": True, "closed": False}


async def listing(visit: Visit) -> Response:
    """Incidents of all monitors, newest first."""
    state = visit.asked("state") if visit.asked("state") in STATES else ""
    wanted = min(visit.page_number(), past.DEEPEST // ON_A_PAGE)
    page = await past.incidents(visit.store, ON_A_PAGE, (wanted - 1) * ON_A_PAGE, is_open=STATES.get(state))
    now = await past.now(visit.store)
    return show(
        visit,
        "incidents.html",
        incidents=[incidents.shown(one, monitor, now) for one, monitor in page.items],
        paging=Paging(wanted, page.total, ON_A_PAGE, f"/ui/incidents?state={state}"),
        state=state,
        parse=parse,
    )


async def detail(visit: Visit) -> Response:
    """One incident and what happened around it."""
    incident, monitor = await past.incident(visit.store, visit.request.path_params["id"])
    head = incidents.shown(incident, monitor, await past.now(visit.store))
    entries = await timeline(visit.store, incident, monitor)
    return show(visit, "incident.html", incident=head, entries=entries, parse=parse)

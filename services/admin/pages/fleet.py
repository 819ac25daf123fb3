"""The fleet: shops by their versions and by status, from telemetry, and each with its success counts."""

import json
from typing import Any, Final

from starlette.exceptions import HTTPException
from starlette.responses import Response

from services.admin.neighbours import ask
from services.admin.pages.paging import Paging
from services.admin.pages.site import Visit, show
from services.admin.pages.times import parse
from shared.model import STATUSES

TITLES: Final = {
    "module_version": "Module version",
    "php_version": "PHP version",
    "version": "Shop version",
    "version_core": "Core version",
}
SHOWN: Final = 20
"""Versions of a field; the rest is summed up."""
ON_A_PAGE: Final = 50


async def fleet(visit: Visit) -> Response:
    """How many shops run what, and a page of the shops themselves."""
    found = await _asked(visit, "/api/fleet")
    wanted = visit.page_number()
    shops = await _asked(visit, "/api/fleet/shops", limit=ON_A_PAGE, offset=(wanted - 1) * ON_A_PAGE)
    fields = [*TITLES, *sorted(name for name in found if name not in (*TITLES, "total", "statuses"))]
    charts = [chart(TITLES.get(name, name), found[name], found["total"]) for name in fields if found[name]]
    return show(
        visit,
        "fleet.html",
        total=found["total"],
        statuses={status: found["statuses"].get(status, 0) for status in STATUSES},
        charts=charts,
        shops=shops["items"],
        paging=Paging(wanted, shops["total"], ON_A_PAGE, "/ui/fleet"),
        parse=parse,
    )


async def _asked(visit: Visit, path: str, **query: int) -> dict[str, Any]:
    """What the collector answers; its refusal is the page's."""
    assert visit.session is not None
    answer = await ask(visit.request, visit.session, "GET", path, query=query)
    if answer.status_code != 200:
        raise HTTPException(answer.status_code, answer.json().get("detail", ""))
    found: dict[str, Any] = json.loads(answer.text)
    return found


def chart(title: str, counts: dict[str, dict[str, int]], total: int) -> dict[str, Any]:
    """A bar chart's rows, the most common version first: (version, shops, share, shops that are down)."""
    ranked = sorted(counts.items(), key=lambda one: (-one[1]["total"], one[0]))
    rows = [
        (value, found["total"], found["total"] / max(1, total), found.get("dead", 0) + found.get("error", 0))
        for value, found in ranked[:SHOWN]
    ]
    rest = sum(found["total"] for _, found in ranked[SHOWN:])
    return {"title": title, "rows": rows, "rest": rest, "more": len(ranked[SHOWN:])}

"""The fleet: shops by their versions and by status, from telemetry."""

import json
from typing import Any, Final

from starlette.exceptions import HTTPException
from starlette.responses import Response

from services.admin.neighbours import ask
from services.admin.pages.site import Visit, show
from shared.model import STATUSES

TITLES: Final = {
    "module_version": "Module version",
    "php_version": "PHP version",
    "version": "Shop version",
    "version_core": "Core version",
}
SHOWN: Final = 20
"""Versions of a field; the rest is summed up."""


async def fleet(visit: Visit) -> Response:
    """How many shops run what."""
    assert visit.session is not None
    answer = await ask(visit.request, visit.session, "GET", "/api/fleet")
    if answer.status_code != 200:
        raise HTTPException(answer.status_code, answer.json().get("detail", ""))
    found: dict[str, Any] = json.loads(answer.text)
    fields = [*TITLES, *sorted(name for name in found if name not in (*TITLES, "total", "statuses"))]
    charts = [chart(TITLES.get(name, name), found[name], found["total"]) for name in fields if found[name]]
    return show(
        visit,
        "fleet.html",
        total=found["total"],
        statuses={status: found["statuses"].get(status, 0) for status in STATUSES},
        charts=charts,
    )


def chart(title: str, counts: dict[str, dict[str, int]], total: int) -> dict[str, Any]:
    """A bar chart's rows, the most common version first: (version, shops, share, shops that are down)."""
    ranked = sorted(counts.items(), key=lambda one: (-one[1]["total"], one[0]))
    rows = [
        (value, found["total"], found["total"] / max(1, total), found.get("dead", 0) + found.get("error", 0))
        for value, found in ranked[:SHOWN]
    ]
    rest = sum(found["total"] for _, found in ranked[SHOWN:])
    return {"title": title, "rows": rows, "rest": rest, "more": len(ranked[SHOWN:])}

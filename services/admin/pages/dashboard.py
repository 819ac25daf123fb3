"""The dashboard: how things stand, and the list of monitors."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import urlencode

from starlette.responses import Response

from services.admin import overview, past
from services.admin.activity import Activity
from services.admin.overview import Row
from services.admin.pages import drawings
from services.admin.pages.paging import Paging
from services.admin.pages.site import Visit, show
from shared.model import STATUSES

ON_A_PAGE: Final = 50


async def dashboard(visit: Visit) -> Response:
    """Counters, activity, and one page of the monitors that were searched for."""
    rows = await overview.scan(visit.store)
    asked = {name: visit.asked(name) for name in ("q", "tag", "status", "sort")}
    if asked["status"] not in STATUSES:
        asked["status"] = ""
    if asked["sort"] not in overview.SORTS:
        asked["sort"] = "status"
    # In a thread, for among 100,000 monitors it takes a fifth of a second: heartbeats may live in this process.
    found, counts, tags = await asyncio.to_thread(_chosen, rows, asked)
    kept = {name: value for name, value in asked.items() if value and (name, value) != ("sort", "status")}
    paging = Paging(visit.page_number(), len(found), ON_A_PAGE, f"/ui?{urlencode(kept)}")
    shown = found[paging.start : paging.end]
    now = await past.now(visit.store)
    activity: Activity = visit.request.app.state.activity
    return show(
        visit,
        "dashboard.html",
        rows=shown,
        beats=await overview.recent_beats(visit.store, [row.id for row in shown], drawings.BEATS_SHOWN),
        counts=counts,
        tags=tags,
        total=len(rows),
        asked=asked,
        kept=kept,
        paging=paging,
        sorts=overview.SORTS,
        day=await activity.day(visit.store, now),
        hour=await activity.deliveries(visit.store, now),
    )


def _chosen(rows: Sequence[Row], asked: Mapping[str, str]) -> tuple[list[Row], dict[str, int], list[str]]:
    """The rows that were searched for, in order; the counts and the tags of all."""
    found = overview.matching(rows, q=asked["q"], tag=asked["tag"], status=asked["status"])
    return overview.ordered(found, asked["sort"]), overview.counts(rows), overview.tags(rows)

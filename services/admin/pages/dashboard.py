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
    kept = {name: value for name, value in asked.items() if value and (name, value) != ("sort", "status")}
    # In a thread, for 100,000 monitors take some 30 ms: heartbeats may live in this process.
    shown, paging, counts, tags = await asyncio.to_thread(
        _chosen, rows, asked, visit.page_number(), f"/ui?{urlencode(kept)}"
    )
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


def _chosen(
    rows: Sequence[Row], asked: Mapping[str, str], page: int, path: str
) -> tuple[list[Row], Paging, dict[str, int], list[str]]:
    """One page of the rows that were searched for, in order, and its place; the counts and the tags of all."""
    found = overview.matching(rows, q=asked["q"], tag=asked["tag"], status=asked["status"])
    paging = Paging(page, len(found), ON_A_PAGE, path)
    shown = overview.first(found, asked["sort"], paging.end)[paging.start :]
    return shown, paging, overview.counts(rows), overview.tags(rows)

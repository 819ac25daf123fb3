"""The dashboard: how things stand, and the list of monitors."""

import asyncio
from collections import Counter
from typing import Final
from urllib.parse import urlencode

from starlette.responses import Response

from services.admin import overview, past
from services.admin.activity import Activity
from services.admin.pages import drawings
from services.admin.pages.paging import Paging
from services.admin.pages.site import Visit, show
from shared.model import STATUSES

ON_A_PAGE: Final = 50


async def dashboard(visit: Visit) -> Response:
    """Counters, activity, and one page of the monitors that were searched for."""
    asked = {name: visit.asked(name) for name in ("q", "tag", "status", "sort")}
    if asked["status"] not in STATUSES:
        asked["status"] = ""
    if asked["sort"] not in overview.SORTS:
        asked["sort"] = "status"
    kept = {name: value for name, value in asked.items() if value and (name, value) != ("sort", "status")}
    counts: Counter[str] = Counter()
    tags: set[str] = set()
    best = overview.Best(asked["sort"], visit.page_number() * ON_A_PAGE)
    async for rows in overview.pages(visit.store):
        counts.update(row.status for row in rows)
        tags.update(row.tags for row in rows)
        best.add(overview.matching(rows, q=asked["q"], tag=asked["tag"], status=asked["status"]))
    paging = Paging(visit.page_number(), best.seen, ON_A_PAGE, f"/ui?{urlencode(kept)}")
    # In a thread: far down the list it sorts many of them, and heartbeats may live in this process.
    shown = (await asyncio.to_thread(best.rows))[paging.start : paging.end]
    now = await past.now(visit.store)
    activity: Activity = visit.request.app.state.activity
    return show(
        visit,
        "dashboard.html",
        rows=shown,
        beats=await overview.recent_beats(visit.store, [row.id for row in shown], drawings.BEATS_SHOWN),
        counts={status: counts[status] for status in STATUSES},
        tags=await asyncio.to_thread(overview.tags, tags),
        total=counts.total(),
        asked=asked,
        kept=kept,
        paging=paging,
        sorts=overview.SORTS,
        day=await activity.day(visit.store, now),
        hour=await activity.deliveries(visit.store, now),
    )

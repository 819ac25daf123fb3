"""The public status pages: `/status`, and `/status/{slug}` for chosen tags."""

from dataclasses import replace
from typing import Final

from starlette.exceptions import HTTPException
from starlette.responses import Response

from services.admin.pages.site import Visit, show
from services.admin.standing import Kept, Standing
from services.admin.status_pages import StatusPage, find

CACHE: Final = {
    "Cache-Control": "public, max-age=10, stale-while-revalidate=30",
    "Vary": "Accept-Language, Cookie",
}


async def look(visit: Visit) -> tuple[StatusPage | None, Standing]:
    """The page that an address names, and how its monitors stand."""
    slug = visit.request.path_params.get("slug", "")
    page = await find(visit.store, slug) if slug else None
    if page is None:
        check_open(visit)
    kept: Kept = visit.request.app.state.standing
    return page, await kept.of(visit.store, slug, page)


def check_open(visit: Visit) -> None:
    """What shows every monitor is for those who are signed in only, when PULSE_PUBLIC_STATUS is false."""
    if not visit.settings.public_status and visit.session is None:
        raise HTTPException(404)


async def status(visit: Visit) -> Response:
    """How things stand, for everybody."""
    page, found = await look(visit)
    headers = CACHE if visit.settings.public_status or page else {"Cache-Control": "no-store"}
    feed = visit.request.url.path.rstrip("/") + "/feed"
    anyone = replace(visit, session=None)  # what caches keep holds nothing of whoever asked
    return show(anyone, "status.html", 200, headers, page=page, standing=found, feed=feed)

"""Badges: `/badge/{slug}.svg`, and `/badge/{slug}.json` as shields.io reads it; `?kind=uptime` shows 30 days."""

from typing import Final

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from services.admin import incidents, overview
from services.admin.pages.feed import xml
from services.admin.pages.public import check_open
from services.admin.pages.site import HEADERS, Visit
from services.admin.pages.times import NOTHING
from shared import keys, monitors
from shared.model import SLUG, Monitor

CACHE: Final = "public, max-age=10"
COLOURS: Final = {
    "alive": ("brightgreen", "#1f7a3d"),
    "warning": ("yellow", "#8a6100"),
    "error": ("orange", "#b04a00"),
    "dead": ("red", "#c11f2c"),
    "new": ("lightgrey", "#5c6670"),
    "paused": ("lightgrey", "#5c6670"),
}
"""By status: shields' word, and a colour that white text can be read on."""
WIDE: Final = 7.2
"""Pixels of an average character at 11 px; an estimate that leaves air."""
LONGEST: Final = 60


async def badge(visit: Visit) -> Response:
    """A monitor's badge by its slug, as a picture or as JSON."""
    check_open(visit)
    slug, _, kind = visit.request.path_params["name"].rpartition(".")
    if kind not in ("svg", "json") or len(slug) > 100 or not SLUG.fullmatch(slug):
        raise HTTPException(404)
    monitor = await _monitor(visit, slug)
    message: str = monitor.status
    colour = COLOURS[monitor.status]
    if visit.asked("kind") == "uptime":
        uptime = (await incidents.get_uptime(monitor.id, visit.store, 1)).periods["30d"].uptime
        message, colour = _uptime(uptime)
    headers = {**HEADERS, "Cache-Control": CACHE, "Access-Control-Allow-Origin": "*"}
    if kind == "json":
        content = {"schemaVersion": 1, "label": monitor.name, "message": message, "color": colour[0]}
        return JSONResponse({**content, "cacheSeconds": 60}, headers=headers)
    return Response(
        draw(monitor.name, message, colour[1]).encode(), headers=headers, media_type="image/svg+xml"
    )


async def _monitor(visit: Visit, slug: str) -> Monitor:
    """The monitor of a slug; of several the worst."""
    found: dict[str, str] = await visit.store.redis.hgetall(keys.slugs(visit.store.shards, slug))  # type: ignore[misc]
    ids = [one for one, its in found.items() if its == slug]
    named = await monitors.get_many(visit.store, ids) if ids else []
    if not named:
        raise HTTPException(404)
    return min(named, key=lambda one: overview.WORST[one.status])


def _uptime(value: float | None) -> tuple[str, tuple[str, str]]:
    if value is None:
        return NOTHING, COLOURS["new"]
    good = "alive" if value >= 99.9 else "warning" if value >= 99 else "error" if value >= 95 else "dead"
    return f"{value:.2f} %", COLOURS[good]


def draw(label: str, message: str, colour: str) -> str:
    """The picture: a name and a word beside it."""
    short = label if len(label) <= LONGEST else label[: LONGEST - 1] + "…"
    left, right = round(len(short) * WIDE) + 14, round(len(message) * WIDE) + 14
    whole = left + right
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{whole}" height="20" role="img" '
        f'aria-label="{xml(short)}: {xml(message)}"><title>{xml(short)}: {xml(message)}</title>'
        f'<clipPath id="r"><rect width="{whole}" height="20" rx="4"/></clipPath><g clip-path="url(#r)">'
        f'<rect width="{left}" height="20" fill="#3b424a"/>'
        f'<rect x="{left}" width="{right}" height="20" fill="{colour}"/></g>'
        f'<g fill="#fff" text-anchor="middle" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11">'
        f'<text x="{left / 2}" y="14">{xml(short)}</text>'
        f'<text x="{left + right / 2}" y="14">{xml(message)}</text></g></svg>\n'
    )

"""The system: how MishPulse itself is doing, and its dead letters."""

from typing import Any, Final

from starlette.responses import Response

from services.admin import system
from services.admin.activity import targets
from services.admin.pages.site import Visit, show
from services.admin.pages.times import parse
from shared import channels_store, delivery_history
from shared.connection import Store

DEAD_SHOWN: Final = 20


async def overview(visit: Visit) -> Response:
    """Services, streams, deliveries, blind windows, versions."""
    state = await system.get_system(visit.store)
    dead = await _dead_letters(visit.store) if state.deliveries.dead_letters else []
    return show(visit, "system.html", state=state, dead=dead, parse=parse)


async def _dead_letters(store: Store) -> list[dict[str, Any]]:
    """The newest dead letters of every target, each with where its target's page is."""
    names = {one.target: one.name for one in (await channels_store.load(store)).values()}
    found: list[dict[str, Any]] = []
    for target in await targets(store):
        page = await delivery_history.listing(store, target, status="failed", limit=DEAD_SHOWN)
        kind, _, number = target.partition(":")
        found += [
            {"delivery": one, "name": names.get(target, target), "page": f"/ui/{kind}s/{number}"}
            for one in page.items
        ]
    found.sort(key=lambda one: one["delivery"].finished or one["delivery"].created, reverse=True)
    return found[:DEAD_SHOWN]

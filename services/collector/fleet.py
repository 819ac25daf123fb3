"""`GET /api/fleet`: how many shops run which version, and how they are."""

import json
from collections import Counter, defaultdict
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict

from services.collector.status import readers, statuses_of
from shared import keys, web
from shared.settings import Settings

FIELDS = ("module_version", "php_version", "version", "version_core")
MAX_VALUE = 100
"""Characters of a version that are told apart."""

Counts = dict[str, dict[str, int]]


class Fleet(BaseModel):
    """Shops in all and by status; per version field a count of shops by value, `total` and by status.

    Each version header that shops sent stands beside the fields under its own name.
    """

    model_config = ConfigDict(extra="allow")

    total: int
    statuses: dict[str, int]
    module_version: Counts
    php_version: Counts
    version: Counts
    version_core: Counts


def versions(entry: dict[str, Any]) -> dict[str, str]:
    """The value of each version field and header in a shop's newest telemetry."""
    given = {name: entry["report"].get(name) for name in FIELDS} | entry.get("headers", {})
    return {
        name: str(value)[:MAX_VALUE]
        for name, value in given.items()
        if isinstance(value, str | int | float) and not isinstance(value, bool) and value != ""
    }


async def fleet(store: web.StoreDep) -> dict[str, Any]:
    """Counts shops by version field and status; a shop whose monitor was deleted is no longer counted."""
    statuses: Counter[str] = Counter()
    fields: dict[str, dict[str, Counter[str]]] = {name: defaultdict(Counter) for name in FIELDS}
    cursor, seen = 0, set[str]()
    while True:
        cursor, page = await store.redis.hscan(keys.TELEMETRY, cursor, count=500)
        entries = {domain: json.loads(text) for domain, text in page.items() if domain not in seen}
        seen.update(entries)  # HSCAN may show one twice
        found = await statuses_of(store, [entry["monitor"] for entry in entries.values()])
        for entry in entries.values():
            row = found.get(entry["monitor"])
            if row is None or "report" not in entry:
                continue
            statuses[row["status"]] += 1
            for name, value in versions(entry).items():
                fields.setdefault(name, defaultdict(Counter))[value].update(("total", row["status"]))
        if not cursor:
            return {"total": statuses.total(), "statuses": statuses, **fields}


def routes(settings: Settings) -> APIRouter:
    """`GET /api/fleet`, read by whoever may read the status list."""
    router = APIRouter(tags=["telemetry"], dependencies=readers(settings))
    router.add_api_route(
        "/api/fleet",
        fleet,
        methods=["GET"],
        response_model=Fleet,
        operation_id="fleet",
        responses=web.errors(401, 403, 503),
    )
    return router

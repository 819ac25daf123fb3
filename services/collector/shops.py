"""`GET /api/fleet/shops`: each shop with its versions, its status, and how often its telemetry got through."""

import json
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, Field

from services.collector.fleet import versions
from services.collector.status import statuses_of
from shared import keys, web
from shared.connection import Store
from shared.events import iso
from shared.model import Status

MAX_COUNT = 2**53
"""What JavaScript can hold; a shop that counted more is mistaken."""
MAX_NAME = 100

Found = list[tuple[str, str, dict[str, Any]]]
"""Domain, monitor id and row of the status list."""


class RunCounts(BaseModel):
    """What became of the shop's telemetry runs before its last report: it skips most, once an hour is enough."""

    sent: int
    skipped: int
    failed: int


class Shop(BaseModel):
    """One shop; `versions` by field and by version header, `telemetry` null when its client does not count."""

    domain: str
    monitor_id: str
    status: Status
    last_seen: str | None = Field(description="the last heartbeat of its monitor")
    reported_at: str | None = Field(description="the last telemetry")
    bot_username: str | None
    versions: dict[str, str]
    telemetry: RunCounts | None


class Shops(BaseModel):
    """One page of shops by their domains, and how many there are in all."""

    items: list[Shop]
    total: int
    limit: int
    offset: int


def counts(report: dict[str, Any]) -> RunCounts | None:
    """The success counts of a report; None unless all three are there and are counts."""
    given = report.get("telemetry")
    if not isinstance(given, dict):
        return None
    found = {name: given.get(name) for name in RunCounts.model_fields}
    if any(type(value) is not int or not 0 <= value <= MAX_COUNT for value in found.values()):
        return None
    return RunCounts.model_validate(found)


def row(domain: str, entry: dict[str, Any], status: dict[str, Any]) -> Shop:
    """A shop of its newest telemetry and its monitor's line in the status list."""
    name = entry["report"].get("bot_username")
    return Shop(
        domain=domain,
        monitor_id=entry["monitor"],
        status=status["status"],
        last_seen=status["last_seen"],
        reported_at=iso(entry.get("at")),
        bot_username=name[:MAX_NAME] if isinstance(name, str) and name else None,
        versions=versions(entry),
        telemetry=counts(entry["report"]),
    )


async def _living(store: Store) -> Found:
    """Every shop that has reported and whose monitor still exists, by domain."""
    found: dict[str, tuple[str, dict[str, Any]]] = {}
    cursor = 0
    while True:
        cursor, page = await store.redis.hscan(keys.TELEMETRY, cursor, count=500)
        entries = {domain: json.loads(text) for domain, text in page.items()}
        statuses = await statuses_of(store, [entry["monitor"] for entry in entries.values()])
        for domain, entry in entries.items():
            if "report" in entry and entry["monitor"] in statuses:
                found[domain] = (entry["monitor"], statuses[entry["monitor"]])
        if not cursor:
            return sorted((domain, monitor_id, status) for domain, (monitor_id, status) in found.items())


async def shops(
    store: web.StoreDep,
    status: Annotated[Status | None, Query(description="only shops in this status")] = None,
    q: Annotated[str | None, Query(max_length=255, description="part of a domain")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
    offset: Annotated[int, Query(ge=0, le=10_000_000)] = 0,
) -> Shops:
    """The shops in the order of their domains."""
    found = [
        (domain, monitor_id, line)
        for domain, monitor_id, line in await _living(store)
        if status in (None, line["status"]) and (not q or q.casefold() in domain)
    ]
    page = found[offset : offset + limit]
    texts = await store.redis.hmget(keys.TELEMETRY, [domain for domain, _, _ in page]) if page else []  # type: ignore[misc]
    items = []
    for (domain, monitor_id, line), text in zip(page, texts, strict=True):
        entry = json.loads(text) if text else {}
        if "report" in entry and entry["monitor"] == monitor_id:  # else it changed this very moment
            items.append(row(domain, entry, line))
    return Shops(items=items, total=len(found), limit=limit, offset=offset)


def routes() -> APIRouter:
    """`GET /api/fleet/shops`, for tokens with `read` even where the status list is public.

    Which shop runs which version of what tells a stranger whom to attack.
    """
    router = APIRouter(tags=["telemetry"], dependencies=[Depends(web.requires("read"))])
    router.add_api_route(
        "/api/fleet/shops",
        shops,
        methods=["GET"],
        response_model=Shops,
        operation_id="shops",
        responses=web.errors(401, 403, 422, 503),
    )
    return router

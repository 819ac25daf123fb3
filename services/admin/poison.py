"""`/api/system/poison`: events that no consumer could handle, to look at and to give back once the cause is mended."""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Response
from pydantic import BaseModel

from services.admin.shapes import Limit, Time
from shared import keys, scripts
from shared.connection import Store
from shared.errors import NotFound
from shared.events import iso, unpacked
from shared.web import StoreDep, errors, requires

router = APIRouter(prefix="/api/system/poison", tags=["system"])
READ = Depends(requires("read"))
ADMIN = Depends(requires("admin"))

OURS = ("poison_group", "poison_entry", "poison_error")
"""Fields that were added when the entry was put aside."""

Entry = Annotated[str, Path(pattern=r"^\d{1,15}-\d{1,20}$")]
Shard = Annotated[int, Path(ge=0, le=1023)]


class PoisonOut(BaseModel):
    """An entry put aside at `at`, because `group` could not handle it, and why; `fields` are as it had them."""

    id: str
    shard: int
    at: Time
    group: str
    error: str
    fields: dict[str, str]


class PoisonListing(BaseModel):
    """The newest entries of every shard, and how many there are."""

    items: list[PoisonOut]
    total: int


def shown(shard: int, entry_id: str, fields: dict[str, str]) -> PoisonOut:
    """An entry as clients see it."""
    return PoisonOut(
        id=entry_id,
        shard=shard,
        at=iso(int(entry_id.partition("-")[0])) or "",
        group=fields.get("poison_group", ""),
        error=fields.get("poison_error", ""),
        fields={name: value for name, value in _readable(fields).items() if name not in OURS},
    )


def _readable(fields: Mapping[str, str]) -> Mapping[str, str]:
    try:
        return unpacked(fields)
    except ValueError:  # it may be why the entry is here
        return fields


@router.get("", dependencies=[READ], responses=errors(401, 403, 422, 503))
async def list_poison(store: StoreDep, limit: Limit = 50) -> PoisonListing:
    """What was put aside, newest first."""
    items, total = [], 0
    for shard in range(store.shards):
        key = keys.poison(shard)
        total += await store.redis.xlen(key)
        items += [shown(shard, *entry) for entry in await store.redis.xrevrange(key, count=limit)]
    return PoisonListing(items=sorted(items, key=lambda one: one.at, reverse=True)[:limit], total=total)


@router.post(
    "/{shard}/{entry}/redeliver",
    status_code=202,
    dependencies=[ADMIN],
    responses=errors(401, 403, 404, 422, 503),
)
async def redeliver_poison(shard: Shard, entry: Entry, store: StoreDep) -> Response:
    """Puts the event back into the stream, where every group reads it again.

    A channel or webhook that has the event already gets it no second time; live clients may see it again, with its id.
    """
    if shard >= store.shards or not await give_back(store, shard, entry):
        raise NotFound(f"there is no entry {entry} among the poison of shard {shard}")
    return Response(status_code=202)


async def give_back(store: Store, shard: int, entry: str) -> bool:
    """Moves an entry back into the stream; False when it is not aside (any more)."""
    names = [keys.poison(shard), keys.events(shard)]
    moved: Any = await scripts.run(store.redis, "poison_back", names, [entry, *OURS])
    return bool(moved)


@router.delete(
    "/{shard}/{entry}", status_code=204, dependencies=[ADMIN], responses=errors(401, 403, 404, 422, 503)
)
async def forget_poison(shard: Shard, entry: Entry, store: StoreDep) -> Response:
    """Forgets an entry for good."""
    if shard >= store.shards or not await store.redis.xdel(keys.poison(shard), entry):
        raise NotFound(f"there is no entry {entry} among the poison of shard {shard}")
    return Response(status_code=204)

"""`/api/status-pages`: public pages that show the monitors of chosen tags."""

import json
from dataclasses import asdict, dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Response
from pydantic import AfterValidator, BaseModel, Field, StringConstraints

from services.admin.monitor_shapes import Tags
from services.admin.shapes import NO_NUL, Asked, Listing, Name
from shared import keys
from shared.connection import Store
from shared.errors import Conflict, NotFound
from shared.web import StoreDep, errors, requires

router = APIRouter(prefix="/api/status-pages", tags=["status pages"])
READ = Depends(requires("read"))
ADMIN = Depends(requires("admin"))


def _not_taken(slug: str) -> str:
    if slug in ("feed", "rss"):
        raise ValueError("this word is taken by the default page's own feed")
    return slug


SLUG = r"^[a-z0-9]+([-_][a-z0-9]+)*$"
Slug = Annotated[str, StringConstraints(pattern=SLUG, max_length=60), AfterValidator(_not_taken)]
SlugPath = Annotated[str, Path(pattern=SLUG, max_length=60)]
Description = Annotated[str, StringConstraints(max_length=1000, strip_whitespace=True), NO_NUL]


class StatusPageIn(Asked):
    """A page to make: at `/status/<slug>`, with the monitors that have one of the tags; no tags: every monitor."""

    slug: Slug = Field(examples=["shops"])
    title: Name = Field(examples=["Our shops"])
    description: Description = ""
    tags: Tags = Field(default_factory=list)


class StatusPagePatch(Asked):
    """What is to change; a field left out stays."""

    title: Name = Field(default_factory=str)
    description: Description | None = None
    tags: Tags | None = None


class StatusPageOut(BaseModel):
    """A page as it is configured."""

    slug: str
    title: str
    description: str
    tags: list[str]


@dataclass(frozen=True)
class StatusPage:
    """A page as it is stored, under its slug."""

    slug: str
    title: str
    description: str
    tags: list[str]


async def find(store: Store, slug: str) -> StatusPage:
    """One page; NotFound when there is none of this slug."""
    text: str | None = await store.redis.hget(keys.STATUS_PAGES, slug)  # type: ignore[misc]
    if text is None:
        raise NotFound("there is no such status page")
    return StatusPage(**json.loads(text))


async def every(store: Store) -> list[StatusPage]:
    """All pages, by their slug."""
    found: dict[str, str] = await store.redis.hgetall(keys.STATUS_PAGES)  # type: ignore[misc]
    return [StatusPage(**json.loads(found[slug])) for slug in sorted(found)]


def shown(page: StatusPage) -> StatusPageOut:
    """A page as clients see it."""
    return StatusPageOut(**asdict(page))


@router.post("", status_code=201, dependencies=[ADMIN], responses=errors(401, 403, 409, 413, 422, 503))
async def create_status_page(body: StatusPageIn, store: StoreDep) -> StatusPageOut:
    """Makes a public page at `/status/<slug>`."""
    page = StatusPage(body.slug, body.title, body.description, body.tags)
    text = json.dumps(asdict(page))
    if not await store.redis.hsetnx(keys.STATUS_PAGES, body.slug, text):  # type: ignore[misc]
        raise Conflict(f"there is a page /status/{body.slug} already; choose another slug")
    return shown(page)


@router.get("", dependencies=[READ], responses=errors(401, 403, 503))
async def list_status_pages(store: StoreDep) -> Listing[StatusPageOut]:
    """The pages, by their slug."""
    pages = [shown(page) for page in await every(store)]
    return Listing(items=pages, total=len(pages), limit=max(1, len(pages)), offset=0)


@router.get("/{slug}", dependencies=[READ], responses=errors(401, 403, 404, 422, 503))
async def get_status_page(slug: SlugPath, store: StoreDep) -> StatusPageOut:
    """One page."""
    return shown(await find(store, slug))


@router.patch("/{slug}", dependencies=[ADMIN], responses=errors(401, 403, 404, 413, 422, 503))
async def change_status_page(slug: SlugPath, body: StatusPagePatch, store: StoreDep) -> StatusPageOut:
    """Changes what is sent; the slug is fixed, for others have linked it."""
    old, sent = await find(store, slug), body.model_fields_set
    page = StatusPage(
        slug,
        body.title if "title" in sent else old.title,
        (body.description or "") if "description" in sent else old.description,
        (body.tags or []) if "tags" in sent else old.tags,
    )
    await store.redis.hset(keys.STATUS_PAGES, slug, json.dumps(asdict(page)))  # type: ignore[misc]
    return shown(page)


@router.delete("/{slug}", status_code=204, dependencies=[ADMIN], responses=errors(401, 403, 404, 422, 503))
async def delete_status_page(slug: SlugPath, store: StoreDep) -> Response:
    """Removes a page."""
    if not await store.redis.hdel(keys.STATUS_PAGES, slug):  # type: ignore[misc]
        raise NotFound("there is no such status page")
    return Response(status_code=204)

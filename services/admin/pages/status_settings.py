"""The settings of the public status pages."""

from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.responses import Response

from services.admin import overview
from services.admin import status_pages as api
from services.admin.links import origin
from services.admin.pages.forms import Form, errors_of, words
from services.admin.pages.site import Visit, go, show
from services.admin.status_pages import StatusPageIn, StatusPagePatch
from shared.errors import Conflict


async def listing(visit: Visit) -> Response:
    """The pages, and how badges are embedded."""
    example = ""
    async for rows in overview.pages(visit.store):
        example = next((row.slug for row in rows if row.slug), "")
        if example:
            break
    base = origin(visit.request, visit.settings)
    return show(visit, "status_pages.html", pages=await api.every(visit.store), example=example, base=base)


async def create(visit: Visit) -> Response:
    """The form of a new page."""
    form = Form({"slug": "", "title": "", "description": "", "tags": ""})
    if visit.request.method == "POST":
        _take(visit, form)
        form.values["slug"] = visit.text("slug")
        try:
            body = StatusPageIn(**{**form.values, "tags": words(form.values["tags"])})
            await api.create_status_page(body, visit.store)
        except (ValidationError, RequestValidationError) as error:
            form.blame(errors_of(error))
        except Conflict as error:
            form.errors["slug"] = str(error)
        else:
            return go("/ui/status-pages", "created")
    return _form(visit, form, is_new=True)


async def edit(visit: Visit) -> Response:
    """The form of a page that is there."""
    page = await api.find(visit.store, visit.request.path_params["slug"])
    values = {"slug": page.slug, "title": page.title, "description": page.description}
    form = Form({**values, "tags": ", ".join(page.tags)})
    if visit.request.method == "POST":
        _take(visit, form)
        try:
            body = StatusPagePatch(
                title=form.values["title"],
                description=form.values["description"],
                tags=words(form.values["tags"]),
            )
            await api.change_status_page(page.slug, body, visit.store)
        except (ValidationError, RequestValidationError) as error:
            form.blame(errors_of(error))
        else:
            return go("/ui/status-pages", "saved")
    return _form(visit, form, is_new=False)


async def delete(visit: Visit) -> Response:
    """Asks whether it is meant, and removes it."""
    page = await api.find(visit.store, visit.request.path_params["slug"])
    if visit.request.method == "POST":
        await api.delete_status_page(page.slug, visit.store)
        return go("/ui/status-pages", "deleted")
    return show(
        visit,
        "confirm.html",
        question="Delete this status page?",
        name=page.title,
        explanation="Whoever linked it finds nothing there any more.",
        button="Delete",
        back="/ui/status-pages",
    )


def _take(visit: Visit, form: Form) -> None:
    for name in ("title", "description", "tags"):
        form.values[name] = visit.text(name)


def _form(visit: Visit, form: Form, *, is_new: bool) -> Response:
    return show(visit, "status_page_form.html", 422 if form.errors else 200, form=form, is_new=is_new)

"""`mishpulse monitors …`."""

from typing import Annotated, Any
from urllib.parse import quote

import typer

from services.console.api import Api, Json, call, every
from services.console.output import Output
from services.console.values import duration, read
from services.console.verbs import group, verb
from shared.errors import ConfigError, NotFound

app = group("Monitors: who is watched, and how long they may be silent.")

COLUMNS = ("id", "name", "status", "last_seen", "timeout", "schedule", "tags", "channels")
WHICH = Annotated[str, typer.Argument(metavar="MONITOR", help="Id, slug or name.")]


def find(api: Api, text: str) -> Json:
    """The monitor of this id, slug or name; ConfigError when several are named so."""
    try:
        found: Json = call(api, "GET", f"/api/monitors/{quote(text, safe='')}")
    except NotFound:
        named = [one for one in every(api, "/api/monitors", q=text) if text in (one["name"], one["slug"])]
        if not named:
            raise NotFound(f"there is no monitor {text}; `mishpulse monitors list` shows them") from None
        if len(named) > 1:
            ids = ", ".join(one["id"] for one in named)
            raise ConfigError(
                f"{len(named)} monitors are called {text}: say which by its id ({ids})"
            ) from None
        return named[0]
    return found


@verb(app, "list")
def list_monitors(
    api: Api,
    out: Output,
    tag: Annotated[str | None, typer.Option(help="Only with this tag.")] = None,
    status: Annotated[str | None, typer.Option(help="Only in this status.")] = None,
    q: Annotated[str | None, typer.Option(help="Only with this in name, slug or id.")] = None,
) -> None:
    """Every monitor, oldest first."""
    out.items(list(every(api, "/api/monitors", tag=tag, status=status, q=q)), COLUMNS)


@verb(app)
def add(  # noqa: PLR0913, PLR0917 - an option each
    api: Api,
    out: Output,
    name: Annotated[str, typer.Argument(help="What people call it.")],
    timeout: Annotated[str, typer.Option(help="The silence allowed: 300, 5m, 2h, 1d.")] = "5m",
    grace: Annotated[str, typer.Option(help="Extra slack.")] = "0",
    schedule: Annotated[str | None, typer.Option(help="Cron; replaces the timeout.")] = None,
    timezone: Annotated[str | None, typer.Option(help="Of the schedule.")] = None,
    slug: Annotated[str | None, typer.Option(help="Instead of one made from the name.")] = None,
    heartbeat_token: Annotated[
        str | None, typer.Option(help="A token of your own; @file reads it from a file.")
    ] = None,
    tag: Annotated[list[str] | None, typer.Option(help="May be given several times.")] = None,
    channel: Annotated[list[int] | None, typer.Option(help="Ids of who is told; else all.")] = None,
    post_only: Annotated[bool, typer.Option("--post-only", help="Ignore GET and HEAD.")] = False,
) -> None:
    """Makes a monitor; its token is shown this once."""
    body: dict[str, Any] = {
        "name": name,
        "timeout": duration(timeout),
        "grace": duration(grace),
        "schedule": schedule,
        "timezone": timezone,
        "slug": slug,
        "token": read(heartbeat_token) if heartbeat_token else None,
        "methods": "post" if post_only else None,
        "tags": tag or [],
        "channels": channel or "*",
    }
    out.item(call(api, "POST", "/api/monitors", body))


@verb(app)
def show(api: Api, out: Output, monitor: WHICH) -> None:
    """One monitor."""
    out.item(find(api, monitor))


@verb(app)
def pause(api: Api, out: Output, monitor: WHICH) -> None:
    """Pauses a monitor: heartbeats change nothing, silence is not noticed."""
    found = call(api, "POST", f"/api/monitors/{find(api, monitor)['id']}/pause")
    out.done(f"{found['name']} is paused", found)


@verb(app)
def resume(api: Api, out: Output, monitor: WHICH) -> None:
    """Resumes a paused monitor."""
    found = call(api, "POST", f"/api/monitors/{find(api, monitor)['id']}/resume")
    out.done(f"{found['name']} is watched again", found)


@verb(app)
def rm(api: Api, out: Output, monitor: WHICH) -> None:
    """Deletes a monitor with its history; its token is refused from then on."""
    found = find(api, monitor)
    call(api, "DELETE", f"/api/monitors/{found['id']}")
    out.done(f"{found['name']} ({found['id']}) is deleted")

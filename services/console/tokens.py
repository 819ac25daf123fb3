"""`mishpulse tokens …` and `mishpulse events send`."""

from typing import Annotated, Any

import typer

from services.console.api import Api, call, every
from services.console.output import Output
from services.console.values import json_object
from services.console.verbs import group, verb

app = group("API tokens, with what they may do.")
events = group("Events of your own.")


@verb(app, "list")
def list_tokens(api: Api, out: Output) -> None:
    """Every API token, oldest first; never its text."""
    out.items(list(every(api, "/api/tokens")), ("id", "name", "scopes", "created_at"))


@verb(app)
def add(
    api: Api,
    out: Output,
    name: Annotated[str, typer.Argument(help="What it is for.")],
    scope: Annotated[
        list[str], typer.Option(help="read, ingest, ping or admin; may be given several times.")
    ],
) -> None:
    """Makes a token; its text is shown this once. `ping` alone gives a ping key."""
    out.item(call(api, "POST", "/api/tokens", {"name": name, "scopes": scope}))


@verb(app)
def rm(
    api: Api, out: Output, token: Annotated[int, typer.Argument(metavar="ID", min=1, help="The token's id.")]
) -> None:
    """Revokes a token."""
    call(api, "DELETE", f"/api/tokens/{token}")
    out.done(f"token {token} is revoked")


@verb(events)
def send(
    api: Api,
    out: Output,
    kind: Annotated[str, typer.Argument(metavar="TYPE", help="Such as payment.completed.")],
    payload: Annotated[str, typer.Argument(help="A JSON object; @file or @- reads one.")] = "{}",
    event_id: Annotated[str | None, typer.Option("--id", help="The same id counts once a day.")] = None,
) -> None:
    """Sends one event to every webhook and live client that asked for its type."""
    body: dict[str, Any] = {"type": kind, "payload": json_object(payload)}
    if event_id:
        body["id"] = event_id
    result = call(api, "POST", "/events", body)
    out.done(f"accepted as {result['ids'][0]}", result)

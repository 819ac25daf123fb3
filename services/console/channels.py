"""`mishpulse channels …`."""

from typing import Annotated, Any

import typer

from services.console.api import Api, call, every
from services.console.output import Output
from services.console.values import pairs
from services.console.verbs import group, verb
from shared.errors import PulseError

app = group("Channels: where people are told.")

COLUMNS = ("id", "name", "type", "events", "language", "muted", "success_count", "failure_count")
WHICH = Annotated[int, typer.Argument(metavar="ID", min=1, help="The channel's id.")]


@verb(app, "list")
def list_channels(api: Api, out: Output) -> None:
    """Every channel, oldest first."""
    out.items(list(every(api, "/api/channels")), COLUMNS)


@verb(app)
def add(
    api: Api,
    out: Output,
    name: Annotated[str, typer.Argument(help="What people call it.")],
    kind: Annotated[str, typer.Option("--type", help="telegram, email, webhook or apprise.")],
    config: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="A part of its config; NAME=@file reads a file."),
    ] = None,
    event: Annotated[
        list[str] | None, typer.Option(help="Types or patterns; else what needs a person.")
    ] = None,
    language: Annotated[str, typer.Option(help="en or ru.")] = "en",
) -> None:
    """Makes a channel, such as `add "on call" --type telegram --set bot_token=@token --set chat_id=-100123`."""
    body: dict[str, Any] = {"name": name, "type": kind, "config": pairs(config or []), "language": language}
    if event:
        body["events"] = event
    out.item(call(api, "POST", "/api/channels", body))


@verb(app)
def show(api: Api, out: Output, channel: WHICH) -> None:
    """One channel; its secrets are masked."""
    out.item(call(api, "GET", f"/api/channels/{channel}"))


@verb(app)
def test(api: Api, out: Output, channel: WHICH) -> None:
    """Sends a test message for real; exit status 1 when it was not accepted."""
    result = call(api, "POST", f"/api/channels/{channel}/test")
    if not result["ok"] and not out.as_json:
        raise PulseError(f"the test was not accepted: {result['error']}")
    out.done("the test was accepted", result)
    if not result["ok"]:
        raise typer.Exit(1)


@verb(app)
def rm(api: Api, out: Output, channel: WHICH) -> None:
    """Deletes a channel with its deliveries."""
    call(api, "DELETE", f"/api/channels/{channel}")
    out.done(f"channel {channel} is deleted")

"""`mishpulse webhooks list|add|…`; without one of these words it is the service of that name."""

from typing import Annotated, Any

import typer

from services.console.api import Api, call, every
from services.console.output import Output
from services.console.values import read
from services.console.verbs import verb
from shared.errors import PulseError

app = typer.Typer(invoke_without_command=True, pretty_exceptions_enable=False)

COLUMNS = ("id", "name", "event_type", "url", "is_active", "success_count", "failure_count")
WHICH = Annotated[int, typer.Argument(metavar="ID", min=1, help="The webhook's id.")]


@verb(app, "list")
def list_webhooks(
    api: Api,
    out: Output,
    event_type: Annotated[str | None, typer.Option(help="Only of this very type.")] = None,
) -> None:
    """Every webhook, newest first."""
    out.items(list(every(api, "/webhooks", event_type=event_type)), COLUMNS)


@verb(app)
def add(
    api: Api,
    out: Output,
    name: Annotated[str, typer.Argument(help="What people call it.")],
    address: Annotated[str, typer.Argument(metavar="URL", help="Where events are posted to.")],
    event_type: Annotated[str, typer.Option(help="A type, a prefix such as monitor.*, or *.")],
    secret: Annotated[str, typer.Option(help="Signs what is posted; @file reads it from a file.")] = "",
    description: Annotated[str | None, typer.Option(help="For people.")] = None,
    inactive: Annotated[bool, typer.Option("--inactive", help="Make it switched off.")] = False,
) -> None:
    """Makes a webhook."""
    body: dict[str, Any] = {
        "name": name,
        "url": address,
        "event_type": event_type,
        "secret": read(secret),
        "description": description,
        "is_active": not inactive,
    }
    out.item(call(api, "POST", "/webhooks", body))


@verb(app)
def show(api: Api, out: Output, webhook: WHICH) -> None:
    """One webhook."""
    out.item(call(api, "GET", f"/webhooks/{webhook}"))


@verb(app)
def test(api: Api, out: Output, webhook: WHICH) -> None:
    """Posts a test event; exit status 1 when it was not accepted."""
    result = call(api, "POST", f"/webhooks/{webhook}/test")
    accepted = result["status"] == "success"
    if not accepted and not out.as_json:
        raise PulseError(
            f"the test was not accepted: {result['error_message'] or 'no worker has sent it yet'}"
        )
    out.done(f"the receiver answered {result['response_status']}", result)
    if not accepted:
        raise typer.Exit(1)


@verb(app)
def rm(api: Api, out: Output, webhook: WHICH) -> None:
    """Removes a webhook with its deliveries."""
    call(api, "DELETE", f"/webhooks/{webhook}")
    out.done(f"webhook {webhook} is removed")

"""`mishpulse apply FILE`: shows a plan, then does what it says."""

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from services.console.api import Api, call, every
from services.console.output import Output
from services.console.verbs import verb
from shared.errors import NotFound


def register(app: typer.Typer) -> None:
    """Makes it a command of `app`."""

    @verb(app)
    def apply(
        api: Api,
        out: Output,
        file: Annotated[str, typer.Argument(help="YAML with monitors and channels; - reads standard input.")],
        prune: Annotated[bool, typer.Option("--prune", help="Delete what the file does not name.")] = False,
        dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan and change nothing.")] = False,
        resend_secrets: Annotated[
            bool, typer.Option("--resend-secrets", help="Send secrets also where they look the same.")
        ] = False,
    ) -> None:
        """Makes monitors and channels be as a file says; what is so already is not touched."""
        from services.console import marked, plan  # noqa: PLC0415 - YAML and models only here
        from services.console.wanted import Wanted  # noqa: PLC0415

        wanted = marked.read(file).check(Wanted)
        known = plan.Known(list(every(api, "/api/channels")), list(every(api, "/api/monitors")))
        steps = plan.steps(wanted, known, prune=prune, resend_secrets=resend_secrets)
        made = [] if dry_run else carry_out(api, steps, known.channels)
        _show(out, steps, made, dry_run=dry_run)


def carry_out(api: Api, steps: Sequence[Any], channels: Sequence[Any]) -> list[dict[str, Any]]:
    """Takes the steps in their order; returns the new monitors with their tokens.

    Stops at the first that fails: what is done is done, and the next run does the rest.
    """
    ids: dict[tuple[str, str], str] = {("channel", one["name"]): str(one["id"]) for one in channels}
    made = []
    for step in steps:
        path = f"/api/{step.kind}s"
        which = step.id or ids.get((step.kind, step.name), "")
        fields = dict(step.fields)
        if step.kind == "monitor" and isinstance(fields.get("channels"), list):
            fields["channels"] = [
                one if isinstance(one, int) else int(ids["channel", one]) for one in fields["channels"]
            ]
        if step.action == "create":
            created = call(api, "POST", path, fields)
            ids[step.kind, step.name] = str(created["id"])
            made += [created] if step.kind == "monitor" else []
        elif step.action == "change":
            call(api, "PATCH", f"{path}/{which}", fields)
        elif step.action == "delete":
            _delete(api, f"{path}/{which}")
        else:
            call(api, "POST", f"{path}/{which}/{step.action}")
    return made


def _delete(api: Api, path: str) -> None:
    try:
        call(api, "DELETE", path)
    except NotFound:
        return  # somebody else was quicker


def _show(out: Output, steps: Sequence[Any], made: Sequence[Any], *, dry_run: bool) -> None:
    rows = [
        {
            "action": step.action,
            "kind": step.kind,
            "name": step.name,
            "what": "; ".join(f"{name}: {text}" for name, text in step.shown.items()),
        }
        for step in steps
    ]
    tokens = [
        {"name": one["name"], "token": one["token"], "heartbeat_url": one["heartbeat_url"]} for one in made
    ]
    if out.as_json:
        out.json({"changed": bool(steps) and not dry_run, "steps": rows, "created": tokens})
        return
    out.items(rows, ("action", "kind", "name", "what"))
    for one in tokens:
        out.done(f"{one['name']}: {one['heartbeat_url']} (shown only now)")
    if not steps:
        out.done("nothing to change")
    elif dry_run:
        out.done(f"{len(steps)} to change; nothing was changed (--dry-run)")
    else:
        out.done(f"{len(steps)} changed")

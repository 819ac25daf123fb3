"""`mishpulse doctor`: looks at everything a server needs and says what to mend."""

from dataclasses import asdict
from typing import Any

import typer

from services.console import place
from services.console.output import Output
from services.console.verbs import AsJson, Data


def register(app: typer.Typer) -> None:
    """Makes it a command of `app`."""

    @app.command()
    def doctor(data: Data = None, as_json: AsJson = False) -> None:
        """Checks Redis, the clock, the key, mail and Telegram; exit status 1 when something must be mended."""
        import asyncio  # noqa: PLC0415 - only what is used

        from services.console import examine  # noqa: PLC0415
        from services.console.local import settings_of  # noqa: PLC0415
        from shared import logs  # noqa: PLC0415

        logs.setup("cli", "error")
        settings = settings_of(place.find_redis(data))
        found = asyncio.run(examine.everything(settings))
        _show(Output(as_json=as_json), [asdict(one) for one in found])


def _show(out: Output, found: list[dict[str, Any]]) -> None:
    count = {verdict: sum(one["verdict"] == verdict for one in found) for verdict in ("ok", "warn", "fail")}
    out.items(found, ("check", "verdict", "found", "mend"))
    if not out.as_json:
        bad = count["fail"] + count["warn"]
        summary = f"{count['ok']} well, {count['warn']} to look at, {count['fail']} to mend"
        out.done(summary if bad else "all is well")
    if count["fail"]:
        raise typer.Exit(1)

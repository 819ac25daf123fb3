"""`mishpulse status`: how all monitors are, live on a terminal."""

import contextlib
import shutil
import time
from collections import Counter
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import typer

from services.console.api import STRANGER, Api, call
from services.console.output import Output, table
from services.console.verbs import verb
from shared.errors import PulseError
from shared.model import STATUSES

URGENCY: Final = ("error", "dead", "warning", "alive", "new", "paused")
COLUMNS: Final = ("name", "status", "last_seen")


def worst_first(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The status list by urgency, then by name."""
    return sorted(rows, key=lambda row: (URGENCY.index(row["status"]), row["name"]))


def summary(rows: list[dict[str, Any]]) -> str:
    """`12 monitors: 10 alive, 2 dead`."""
    count = Counter(row["status"] for row in rows)
    words = ", ".join(f"{count[status]} {status}" for status in STATUSES if count[status])
    noun = "monitor" if len(rows) == 1 else "monitors"
    return f"{len(rows)} {noun}: {words}" if rows else "no monitors"


def register(app: typer.Typer) -> None:
    """Makes it a command of `app`."""

    @verb(app)
    def status(
        api: Api,
        out: Output,
        every: Annotated[float, typer.Option(help="Seconds between looks.", min=0.2, max=3600)] = 2.0,
        once: Annotated[bool, typer.Option("--once", help="Look once, also on a terminal.")] = False,
    ) -> None:
        """How all monitors are, worst first: a live table on a terminal, else once."""
        if out.terminal and not once and not out.as_json:
            with contextlib.suppress(KeyboardInterrupt):
                _watch(api, every)
        else:
            out.items(worst_first(_rows(api)), COLUMNS)


def _rows(api: Api) -> list[dict[str, Any]]:
    rows = call(api, "GET", "/api/status")
    if not isinstance(rows, list):
        raise PulseError(STRANGER.format(path="/api/status"))
    return rows


def _watch(api: Api, every: float) -> None:
    from rich.live import Live  # noqa: PLC0415 - only on a terminal

    with Live(_screen(_rows(api)), auto_refresh=False) as live:
        while True:
            time.sleep(every)
            try:
                live.update(_screen(_rows(api)), refresh=True)
            except PulseError as error:
                live.update(f"{error}; trying again", refresh=True)


def _screen(rows: list[dict[str, Any]]) -> Any:
    """As many rows as the terminal has lines for, under a line of counts."""
    from rich.console import Group  # noqa: PLC0415 - only on a terminal
    from rich.text import Text  # noqa: PLC0415

    room = max(3, shutil.get_terminal_size().lines - 5)
    shown = worst_first(rows)
    left = len(shown) - room
    at = datetime.now(UTC).strftime("%H:%M:%S UTC")
    parts: list[Any] = [Text(f"{summary(rows)} · {at} · Ctrl-C ends", "dim"), table(shown[:room], COLUMNS)]
    if left > 0:
        parts.append(Text(f"… and {left} more", "dim"))
    return Group(*parts)

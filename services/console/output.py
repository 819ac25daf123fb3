"""How verbs print: a rich table on a terminal, tab-separated lines in a pipe, or JSON."""

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

import typer

STYLES: Final = {
    "alive": "green",
    "warning": "yellow",
    "error": "red",
    "dead": "bold red",
    "paused": "dim",
    "ok": "green",
    "warn": "yellow",
    "fail": "bold red",
    "create": "green",
    "change": "yellow",
    "delete": "red",
}
"""Words whose colour says something."""


def cell(value: Any) -> str:
    """A value on one line; nothing in it can move the cursor or end the line."""
    if value is None:
        text = ""
    elif isinstance(value, bool):
        text = "yes" if value else "no"
    elif isinstance(value, list | tuple):
        text = ",".join(cell(item) for item in value)
    elif isinstance(value, float) and value.is_integer():
        text = str(int(value))
    elif isinstance(value, dict):
        text = json.dumps(value, ensure_ascii=False)
    else:
        text = str(value)
    return "".join(character if character.isprintable() else " " for character in text)


class Output:
    """Standard output as a verb uses it."""

    def __init__(self, *, as_json: bool = False) -> None:
        self.as_json = as_json
        self.terminal = sys.stdout.isatty()

    def items(self, items: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
        """A list: these columns of it, or all of it as JSON."""
        if self.as_json:
            self.json(list(items))
        elif self.terminal:
            from rich.console import Console  # noqa: PLC0415 - only on a terminal

            Console().print(table(items, columns))
        else:
            for item in items:
                typer.echo("\t".join(cell(item.get(name)) for name in columns))

    def item(self, item: Mapping[str, Any]) -> None:
        """One thing: a line per field, or JSON."""
        if self.as_json:
            self.json(item)
            return
        wide = max(map(len, item), default=0) if self.terminal else 0
        for name, value in item.items():
            typer.echo(f"{name:<{wide}}  {cell(value)}" if self.terminal else f"{name}\t{cell(value)}")

    def done(self, text: str, result: Any = None) -> None:
        """What was done, in a sentence, or its result as JSON."""
        if self.as_json:
            self.json({"result": "ok"} if result is None else result)
        else:
            typer.echo(cell(text))

    def json(self, content: Any) -> None:
        """Indented for a person, on one line for a pipe."""
        typer.echo(json.dumps(content, indent=2 if self.terminal else None, ensure_ascii=False))


def table(items: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> Any:
    """A rich table; values are text, never markup."""
    from rich.table import Table  # noqa: PLC0415 - only on a terminal
    from rich.text import Text  # noqa: PLC0415

    made = Table(*(name.replace("_", " ") for name in columns), box=None, header_style="bold", pad_edge=False)
    for item in items:
        cells = [cell(item.get(name)) for name in columns]
        made.add_row(*(Text(text, STYLES.get(text, "")) for text in cells))
    return made

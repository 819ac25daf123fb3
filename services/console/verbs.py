"""What verbs have in common: where the server is, and whether they print JSON."""

import contextlib
import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from services.console import place
from services.console.api import Api
from services.console.output import Output

Url = Annotated[str, typer.Option(help="The server's address (PULSE_URL).", show_default=False)]
Token = Annotated[
    str, typer.Option("--token", help="An admin token (PULSE_ADMIN_TOKEN).", show_default=False)
]
Data = Annotated[
    Path | None, typer.Option(help="Data folder of a running `mishpulse up`: no token is needed.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

_KEYWORD = inspect.Parameter.KEYWORD_ONLY
_COMMON = (
    inspect.Parameter("url", _KEYWORD, default="", annotation=Url),
    inspect.Parameter("token_", _KEYWORD, default="", annotation=Token),
    inspect.Parameter("data", _KEYWORD, default=None, annotation=Data),
    inspect.Parameter("as_json", _KEYWORD, default=False, annotation=AsJson),
)


@contextlib.contextmanager
def opened(where: place.Place) -> Iterator[Api]:
    """The API of a server, closed afterwards."""
    if isinstance(where, place.Remote):
        from services.console.remote import RemoteApi  # noqa: PLC0415 - only what is used

        with contextlib.closing(RemoteApi(where.url, where.token)) as remote:
            yield remote
    else:
        from services.console.local import LocalApi  # noqa: PLC0415 - it imports every service

        with contextlib.closing(LocalApi(where)) as local:
            yield local


def verb(app: typer.Typer, name: str | None = None) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Makes a function `(api, out, …)` a command of `app` that takes --url, --token, --data and --json as well."""

    def register(function: Callable[..., None]) -> Callable[..., None]:
        def run(*, url: str, token_: str, data: Path | None, as_json: bool, **arguments: Any) -> None:
            with opened(place.find(url, token_, data)) as api:
                function(api, Output(as_json=as_json), **arguments)

        found = inspect.signature(function).parameters.values()
        own = [
            parameter.replace(kind=_KEYWORD) for parameter in found if parameter.name not in ("api", "out")
        ]
        signature = inspect.Signature([*own, *_COMMON])
        run.__name__ = function.__name__
        run.__doc__ = function.__doc__
        run.__signature__ = signature  # type: ignore[attr-defined]  # what typer reads
        run.__annotations__ = {each.name: each.annotation for each in signature.parameters.values()}
        app.command(name)(run)
        return function

    return register


def group(text: str) -> typer.Typer:
    """A noun with its verbs."""
    return typer.Typer(help=text, no_args_is_help=True, pretty_exceptions_enable=False)

"""The verbs of `mishpulse`. What a verb needs is imported when it runs, so that `--help` and `health` are quick."""

import http.client
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from services.console import apply, channels, configuration, doctor, monitors, status, tokens
from services.console import webhooks as webhooks_verbs
from shared.errors import ConfigError, PulseError
from shared.version import version

app = typer.Typer(
    name="mishpulse",
    help="MishPulse: notices which of your programs fell silent, and tells you.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

Host = Annotated[str, typer.Option(help="Address to listen on.")]
Port = Annotated[int, typer.Option(help="Port to listen on.", min=0, max=65535)]

FAILED = 1
WRONG = 2


def run(arguments: Sequence[str]) -> int:
    """Runs one command line and returns its exit status; a known error is printed without its traceback.

    Wrong arguments, `--help` and the like end in typer's own SystemExit.
    """
    try:
        app(list(arguments), prog_name="mishpulse")
    except PulseError as error:
        for line in str(error).splitlines():
            print(f"mishpulse: {line}", file=sys.stderr)  # noqa: T201 - what the operator reads
        return WRONG if isinstance(error, ConfigError) else FAILED
    return 0


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"mishpulse {version()}")
        raise typer.Exit


@app.callback()
def main(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """MishPulse: notices which of your programs fell silent, and tells you."""


@app.command()
def up(
    host: Host = "127.0.0.1",
    port: Port = 8080,
    data: Annotated[Path, typer.Option(help="Folder of everything that must survive.")] = Path("data"),
    redis_url: Annotated[str, typer.Option(help="Use this Redis or Valkey; embed none.")] = "",
    demo: Annotated[bool, typer.Option("--demo", help="Make a demo monitor.")] = False,
) -> None:
    """Everything on one port: an embedded Valkey and all services, each started again when it ends."""
    from services import up as group  # noqa: PLC0415
    from shared import settings  # noqa: PLC0415

    overrides = {"redis_url": redis_url} if redis_url else {}
    group.run(group.Plan(settings.load(**overrides), host, port, data.absolute(), demo))


def _http(service: str, host: str, port: int) -> None:
    from services import process  # noqa: PLC0415
    from shared import settings  # noqa: PLC0415

    process.run_http(service, settings.load(), process.listen(host, port))


def _worker(service: str) -> None:
    from services import process  # noqa: PLC0415
    from shared import settings  # noqa: PLC0415

    process.run_worker(service, settings.load())


@app.command()
def collector(host: Host = "127.0.0.1", port: Port = 8000) -> None:
    """The service that takes heartbeats, telemetry and events."""
    _http("collector", host, port)


@webhooks_verbs.app.callback()
def webhooks(context: typer.Context, host: Host = "127.0.0.1", port: Port = 8000) -> None:
    """The service of webhook subscriptions and live WebSockets; with a verb: the webhooks themselves."""
    if context.invoked_subcommand is None:
        _http("webhooks", host, port)


@app.command()
def admin(host: Host = "127.0.0.1", port: Port = 8000) -> None:
    """The service that manages monitors, channels and tokens, with the web pages."""
    _http("admin", host, port)


@app.command()
def watchdog() -> None:
    """The process that declares silent monitors dead; any number of them may run."""
    _worker("watchdog")


@app.command()
def notifier() -> None:
    """The process that tells people; any number of them may run."""
    _worker("notifier")


@app.command()
def webhooks_worker() -> None:
    """The process that delivers to webhooks; any number of them may run."""
    _worker("webhooks-worker")


@app.command(hidden=True)
def child(
    service: str, listener: Annotated[int, typer.Option(help="An open listening socket.")] = -1
) -> None:
    """One process of the group that `up` supervises."""
    from services import process  # noqa: PLC0415
    from shared import settings  # noqa: PLC0415

    process.run_child(service, settings.load(), listener)


@app.command()
def init_key(
    file: Annotated[Path, typer.Option(help="Where the key is, or will be.")],
) -> None:
    """Makes the key that encrypts stored secrets, unless the file has one."""
    from shared.secrets import load_key  # noqa: PLC0415

    load_key("", file, create=True)
    typer.echo(f"the key is in {file}")


@app.command()
def health() -> None:
    """Asks the service on PULSE_METRICS_PORT (9100) of this machine whether it is ready; exit status 0 or 1."""
    from shared import settings  # noqa: PLC0415

    found = settings.load()
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(found.metrics_host, found.metrics_host)  # noqa: S104
    connection = http.client.HTTPConnection(host, found.metrics_port or 9100, timeout=4)
    try:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
    except OSError as error:
        raise PulseError(f"no answer from {host}:{found.metrics_port or 9100}: {error}") from None
    if answer.status != 200:
        raise PulseError(answer.read(200).decode(errors="replace"))
    typer.echo("ready")


app.add_typer(monitors.app, name="monitors")
app.add_typer(channels.app, name="channels")
app.add_typer(webhooks_verbs.app, name="webhooks")
app.add_typer(tokens.app, name="tokens")
app.add_typer(tokens.events, name="events")
status.register(app)
apply.register(app)
configuration.register(app)
doctor.register(app)

"""The `pulse` command; each verb imports only what it needs.

Exit status: 0 accepted, 1 not accepted or not reached, 2 used wrongly; `pulse run` has its command's.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys

TYPE_CHECKING = False  # see __init__
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb and return the exit status."""
    options = _parser().parse_args(arguments)
    try:
        status: int = options.verb(options)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader of our output has left
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 141
    return status


def _beat(options: argparse.Namespace) -> int:
    from . import beats, settings
    from .failures import Failed, describe
    from .quietly import within
    from .wire import Deadline

    seconds = settings.timeout(options.timeout)
    beat = beats.Beat(options.status, options.message)
    deadline = Deadline(seconds)
    try:
        within(seconds, lambda: beats.send(options.url, options.token, beat, deadline, tries=0))
    except Exception as error:  # noqa: BLE001 - a line in a log helps more than a traceback
        _tell(f"not delivered: {error if isinstance(error, Failed) else describe(error)}")
        return 1
    return 0


def _run(options: argparse.Namespace) -> int:
    from . import settings
    from .run import Reports, run

    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    if not command:
        _tell("no command given: pulse run --token TOKEN -- command…")
        return 2
    reports = Reports(options.url, options.token, settings.timeout(options.timeout))
    return run(command, reports, _tell, capture=not options.no_capture)


def _telemetry(options: argparse.Namespace) -> int:
    from . import fleet

    if options.show_status:
        return fleet.show(as_json=options.json)
    return fleet.send(options, _tell)


def _watch(options: argparse.Namespace) -> int:
    import json

    from . import settings
    from .failures import Failed
    from .watch import Watch, one_line

    as_json = options.json or not sys.stdout.isatty()

    def show(message: Mapping[str, Any]) -> None:
        if message.get("type") == "connection":
            _tell(str(message.get("message") or "connected"))
        else:
            print(json.dumps(message) if as_json else one_line(dict(message)), flush=True)

    token = settings.token(options.token)
    if not token:
        _tell("no token given, and PULSE_TOKEN is not set")
        return 2
    try:
        Watch(options.url, token, show, _tell, events=options.events, cursor=options.after).follow()
    except Failed as error:
        _tell(str(error))
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pulse", description="Tell MishPulse that something is alive.", formatter_class=_help
    )
    verbs = parser.add_subparsers(
        title="verbs", required=True, metavar="beat | run | telemetry | watch", prog="pulse"
    )
    common = argparse.ArgumentParser(add_help=False, formatter_class=_help)
    common.add_argument("--url", help="the server's address (default: PULSE_API_HOST, then this machine)")
    common.add_argument(
        "--timeout", type=float, help="seconds for one report (default: PULSE_TIMEOUT, then 2)"
    )
    how: dict[str, Any] = {"parents": [common], "formatter_class": _help}

    beat = verbs.add_parser("beat", help="send one heartbeat", **how)
    beat.add_argument("token", nargs="?", help="the monitor's token (default: PULSE_TOKEN)")
    beat.add_argument("--status", choices=("ok", "warning", "error"), default="ok")
    beat.add_argument("--message", default="")
    beat.set_defaults(verb=_beat)

    run = verbs.add_parser("run", help="run a command and report its start, end and output", **how)
    run.add_argument("--token", help="the monitor's token (default: PULSE_TOKEN)")
    run.add_argument("--no-capture", action="store_true", help="leave the output alone and do not send it")
    run.add_argument("command", nargs=argparse.REMAINDER, help="-- and the command with its arguments")
    run.set_defaults(verb=_run)

    _add_telemetry(verbs, how)

    watch = verbs.add_parser("watch", help="show events as they happen", **how)
    watch.add_argument("--token", help="a token that may read (default: PULSE_TOKEN)")
    watch.add_argument("--events", default="", help="only these types, such as monitor.*,ticket.created")
    watch.add_argument("--after", default="", metavar="CURSOR", help="begin after this position")
    watch.add_argument("--json", action="store_true", help="one JSON object a line (always so in a pipe)")
    watch.set_defaults(verb=_watch)
    return parser


def _help(prog: str) -> argparse.HelpFormatter:
    """Help of a fixed width: asking the terminal for its width costs every start 4 ms of imports."""
    return argparse.HelpFormatter(prog, width=100)


def _add_telemetry(verbs: Any, how: dict[str, Any]) -> None:
    telemetry = verbs.add_parser("telemetry", help="send telemetry when an hour has passed", **how)
    telemetry.add_argument("--status", action="store_true", dest="show_status", help="show how it has fared")
    telemetry.add_argument("--json", action="store_true", help="with --status: as JSON")
    telemetry.add_argument("--collect", metavar="MODULE:FUNCTION", help="what returns the fields")
    telemetry.add_argument(
        "--field", action="append", default=[], metavar="NAME=VALUE", help="one more field"
    )
    telemetry.add_argument("--version-header", metavar="NAME[=VALUE]", help="such as X-MEGAPAY-VERSION")
    telemetry.add_argument("--name", help="tells several senders of one user apart")
    telemetry.add_argument("--force", action="store_true", help="even if the last hour has a success")
    telemetry.set_defaults(verb=_telemetry)


def _tell(text: str) -> None:
    """Say something beside the output."""
    with contextlib.suppress(OSError, ValueError):  # nobody listens
        print(f"pulse: {text}", file=sys.stderr, flush=True)

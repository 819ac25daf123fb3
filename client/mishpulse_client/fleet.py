"""`pulse telemetry`: for cron and systemd timers, so that no web page has to trigger it."""

from __future__ import annotations

import importlib
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import counts, state
from .failures import Failed
from .telemetry import Telemetry

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping


def send(options: argparse.Namespace, tell: Callable[[str], None]) -> int:
    """Run the telemetry that the options describe; 0 when it was sent or not yet due."""
    try:
        collect = _collector(options.collect, options.field)
    except Failed as error:
        tell(str(error))
        return 2
    name, _, value = (options.version_header or "").partition("=")
    header = (name, value) if value else name or None
    telemetry = Telemetry(options.url, None, header, collect, name=options.name or _name(options))
    outcome = telemetry.run(force=options.force)
    print(outcome)
    return 1 if outcome == "failed" else 0


def show(*, as_json: bool) -> int:
    """Print the counts of every sender of this user; 1 when one has never succeeded."""
    try:
        kept = counts.read_all(state.folder())
    except Failed:
        kept = []
    if as_json:
        print(json.dumps([asdict(entry) for entry in kept]))
    elif not kept:
        print("no telemetry has been sent from this account yet")
    else:
        for entry in kept:
            print(_line(entry))
    return 0 if all(entry.last_success for entry in kept) else 1


def _line(entry: counts.Counts) -> str:
    said = f"; last failure {_moment(entry.last_failure)}: {entry.last_error}" if entry.failed else ""
    return (
        f"{entry.name} → {entry.url}: sent {entry.sent}, skipped {entry.skipped}, failed {entry.failed}; "
        f"last success {_moment(entry.last_success)}{said}"
    )


def _moment(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds)) if seconds else "never"


def _collector(place: str | None, pairs: list[str]) -> Callable[[], Mapping[str, Any]]:
    """A function that returns the fields; raises Failed for a place or pair that is none."""
    function = _import(place) if place else dict
    fields = {}
    for pair in pairs:
        name, separator, value = pair.partition("=")
        if not separator:
            raise Failed(f"--field takes NAME=VALUE, not {pair}")
        fields[name] = value
    if not place and not fields:
        raise Failed("nothing to send: give --collect MODULE:FUNCTION or --field domain=shop.example")
    return lambda: {**function(), **fields}


def _import(place: str) -> Callable[[], Mapping[str, Any]]:
    module, _, name = place.partition(":")
    sys.path.insert(0, str(Path.cwd()))
    try:
        function: Any = getattr(importlib.import_module(module), name)
    except Exception as error:  # noqa: BLE001 - importing runs anybody's code
        raise Failed(f"cannot import {place}: {error}") from None
    if not callable(function):
        raise Failed(f"{place} is no function")
    return function  # type: ignore[no-any-return]  # anything callable may try


def _name(options: argparse.Namespace) -> str:
    """The domain where one is given; the function's place and this folder otherwise."""
    for pair in options.field:
        if pair.startswith("domain="):
            return str(pair[len("domain=") :])
    return f"{options.collect} {Path.cwd()}"

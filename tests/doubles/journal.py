"""What a double has received, in memory and as JSON lines; and how a double runs as a program."""

import argparse
import asyncio
import json
import signal
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TextIO


@dataclass
class Journal:
    """Everything received, in order; `out` gets each as a JSON line."""

    received: list[dict[str, Any]] = field(default_factory=list)
    out: TextIO | None = None

    def note(self, **what: Any) -> None:
        self.received.append(what)
        if self.out is not None:
            self.out.write(json.dumps(what) + "\n")
            self.out.flush()


class Double(Protocol):
    """What every double has."""

    journal: Journal
    port: int


def parser(description: str) -> argparse.ArgumentParser:
    arguments = argparse.ArgumentParser(description=description)
    arguments.add_argument("--host", default="127.0.0.1")
    arguments.add_argument("--port", type=int, default=0)
    arguments.add_argument("--out", type=Path, help="append the JSON lines here instead of standard output")
    return arguments


def serve(make: Callable[[Journal], AbstractAsyncContextManager[Double]], out: Path | None) -> None:
    """Runs the double until SIGTERM or SIGINT."""
    target = out.open("a", encoding="utf-8") if out else sys.stdout
    asyncio.run(_serve(make, Journal(out=target)))


async def _serve(make: Callable[[Journal], AbstractAsyncContextManager[Double]], journal: Journal) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with make(journal) as double:
        sys.stderr.write(f"listening on {double.port}\n")
        sys.stderr.flush()
        await stop.wait()

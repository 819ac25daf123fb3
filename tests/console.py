"""The command line called in this very process, on a server of the fixtures; its output as a pipe would get it."""

import contextlib
import io
import json
import os
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import redis

from services import commands
from shared import logs
from shared.secrets import new_key


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def rows(self) -> list[list[str]]:
        return [line.split("\t") for line in self.out.splitlines()]

    @property
    def fields(self) -> dict[str, str]:
        return {row[0]: row[1] for row in self.rows if len(row) == 2}


def flushed(url: str) -> str:
    """The server's address, with nothing in it."""
    with redis.Redis.from_url(url) as client:
        client.flushall()
    return url


@dataclass
class Console:
    """Runs commands in an environment of its own."""

    environment: dict[str, str] = field(default_factory=dict)

    def __call__(self, *arguments: Any, stdin: str | bytes = b"") -> Done:
        out, err = io.StringIO(), io.StringIO()
        raw = stdin.encode() if isinstance(stdin, str) else stdin
        kept = {key: value for key, value in os.environ.items() if not key.startswith("PULSE_")}
        with (
            mock.patch.dict(os.environ, {**kept, **self.environment}, clear=True),
            mock.patch("sys.stdin", io.TextIOWrapper(io.BytesIO(raw))),
            mock.patch.object(logs, "setup"),  # it would outlive the command
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            try:
                code = commands.run([str(argument) for argument in arguments])
            except SystemExit as ended:
                code = int(ended.code or 0)
        return Done(code, out.getvalue(), err.getvalue())

    def ok(self, *arguments: Any, stdin: str | bytes = b"") -> Done:
        """A command that must succeed."""
        done = self(*arguments, stdin=stdin)
        assert done.code == 0, done
        return done

    def json(self, *arguments: Any, stdin: str | bytes = b"") -> Any:
        """What a command that must succeed prints as JSON."""
        return json.loads(self.ok(*arguments, "--json", stdin=stdin).out)


def on(url: str, **settings: str) -> Console:
    """A command line on an emptied Redis."""
    return Console({"PULSE_REDIS_URL": flushed(url), "PULSE_SECRET_KEY": new_key(), **settings})

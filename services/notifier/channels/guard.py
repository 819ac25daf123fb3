"""Checks the connections of a library that makes its own, by an audit hook on its sockets.

`sys.addaudithook` hears of each connection attempt with its address before it is made, whoever makes it. A
hook cannot be taken away again, so it is installed once, when the first such library is used, and acts in
guarded contexts alone: this thread, and pools that run their work in a copy of its context, as Apprise does.
"""

import contextlib
import contextvars
import functools
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from shared.outbound import ForbiddenAddress
from shared.targets import Network, forbidden

_CONNECTIONS = frozenset({"socket.connect", "socket.sendto", "socket.sendmsg"})
_PROGRAMS = frozenset({"os.exec", "os.fork", "os.posix_spawn", "os.spawn", "os.system", "subprocess.Popen"})

_rules: contextvars.ContextVar[tuple[Sequence[Network], list[str]] | None] = contextvars.ContextVar(
    "rules", default=None
)


@contextlib.contextmanager
def guarded(allowed: Sequence[Network]) -> Iterator[list[str]]:
    """Within it, this context connects to permitted addresses only and starts no program.

    Gives the list of what was refused, because libraries hide the errors they meet.
    """
    _install()
    refused: list[str] = []
    before = _rules.set((allowed, refused))
    try:
        yield refused
    finally:
        _rules.reset(before)


@functools.cache
def _install() -> None:
    sys.addaudithook(_hook)


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if not (event in _CONNECTIONS or event in _PROGRAMS) or (rules := _rules.get()) is None:
        return
    allowed, refused = rules
    if event in _PROGRAMS:
        why: str | None = "a program"
    else:
        address = arguments[1]
        host = address[0] if isinstance(address, tuple) else str(address)
        reason = forbidden(str(host), allowed)
        why = f"{host} is {reason}" if reason else None
    if why is not None:
        refused.append(why)
        raise ForbiddenAddress(why)

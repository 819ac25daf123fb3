"""Checks the connections of a library that makes its own, by an audit hook on this thread's sockets.

`sys.addaudithook` hears of each connection attempt with its address before it is made, whoever makes it. A
hook cannot be taken away again, so it is installed once, when the first such library is used, and acts in
guarded threads alone.
"""

import contextlib
import functools
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import Any

from shared.outbound import ForbiddenAddress
from shared.targets import Network, forbidden

_CONNECTIONS = frozenset({"socket.connect", "socket.sendto", "socket.sendmsg"})
_PROGRAMS = frozenset({"os.exec", "os.fork", "os.posix_spawn", "os.spawn", "os.system", "subprocess.Popen"})

_thread = threading.local()


@contextlib.contextmanager
def guarded(allowed: Sequence[Network]) -> Iterator[list[str]]:
    """Within it, this thread connects to permitted addresses only and starts no program.

    Gives the list of what was refused, because libraries hide the errors they meet.
    """
    _install()
    refused: list[str] = []
    _thread.rules = (allowed, refused)
    try:
        yield refused
    finally:
        del _thread.rules


@functools.cache
def _install() -> None:
    sys.addaudithook(_hook)


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    rules = getattr(_thread, "rules", None)
    if rules is None or not (event in _CONNECTIONS or event in _PROGRAMS):
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

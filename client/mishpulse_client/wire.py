"""TCP and TLS connections whose every step counts against one deadline.

http.client would do, but importing it costs 19 ms, a third of what `pulse run` may add to a command,
and its timeout starts anew with each packet, so that a dripping server holds its caller as long as it likes.
"""

from __future__ import annotations

import contextlib
import socket
import time
import urllib.parse

from .failures import Failed, TimedOut

TYPE_CHECKING = False  # see __init__
if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator

CHUNK = 65_536


class Deadline:
    """A moment by the monotonic clock; `at` may be moved forward from another thread to end a call early."""

    __slots__ = ("at",)

    def __init__(self, seconds: float) -> None:
        self.at = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds left, always positive; raises TimedOut when there are none."""
        seconds = self.at - time.monotonic()
        if seconds <= 0:
            raise TimedOut
        return seconds


class Target:
    """A URL taken apart: where to connect and what to ask for."""

    __slots__ = ("authority", "host", "path", "port", "secure")

    def __init__(self, url: str) -> None:
        """Raises Failed for what is no http, https, ws or wss URL."""
        try:
            parts = urllib.parse.urlsplit(url)
            self.secure = parts.scheme in ("https", "wss")
            self.port = parts.port or (443 if self.secure else 80)
        except ValueError as error:
            raise Failed(f"the address is no URL: {error}") from None
        if parts.scheme not in ("http", "https", "ws", "wss") or not parts.hostname:
            raise Failed("the address must look like https://pulse.example.org")
        self.host = parts.hostname
        host = f"[{self.host}]" if ":" in self.host else self.host.encode("idna").decode()
        self.authority = f"{host}:{parts.port}" if parts.port else host
        path = urllib.parse.quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
        self.path = f"{path}?{parts.query}" if parts.query else path

    @property
    def origin(self) -> str:
        """The address without the path, which may hold a token."""
        return f"{'https' if self.secure else 'http'}://{self.authority}"


class Stream:
    """A connected socket with what was read ahead; every call ends by `deadline`."""

    def __init__(self, sock: socket.socket, deadline: Deadline) -> None:
        self.deadline = deadline
        self.buffer = bytearray()
        self._sock = sock

    def send(self, data: bytes) -> None:
        """Send all of it."""
        with _failures():
            self._sock.settimeout(self.deadline.left())
            self._sock.sendall(data)

    def fill(self) -> bool:
        """Wait for more bytes and append them to the buffer; False when the other side has closed."""
        with _failures():
            self._sock.settimeout(self.deadline.left())
            data = self._sock.recv(CHUNK)
        self.buffer += data
        return bool(data)

    def until(self, mark: bytes, limit: int) -> bytes:
        """Take what stands before the mark, and the mark."""
        while (end := self.buffer.find(mark)) < 0:
            if len(self.buffer) > limit or not self.fill():
                raise Failed("the answer is not HTTP")
        return self._take(end + len(mark))[: -len(mark)]

    def exactly(self, count: int) -> bytes:
        """Take that many bytes."""
        while len(self.buffer) < count:
            if not self.fill():
                raise Failed("the connection closed in the middle of the answer")
        return self._take(count)

    def rest(self, limit: int) -> bytes:
        """Take everything until the other side closes, at most `limit` bytes."""
        while len(self.buffer) < limit and self.fill():
            pass
        return self._take(limit)

    def close(self) -> None:
        """Let go of the socket."""
        self._sock.close()

    def _take(self, count: int) -> bytes:
        taken = bytes(self.buffer[:count])
        del self.buffer[:count]
        return taken


@contextlib.contextmanager
def _failures() -> Iterator[None]:
    """Turn a socket's errors into Failed."""
    try:
        yield
    except socket.timeout:  # TimeoutError by another name, but not before Python 3.10
        raise TimedOut from None
    except (OSError, UnicodeError) as error:
        raise Failed(getattr(error, "strerror", None) or str(error)) from None


def connect(target: Target, deadline: Deadline) -> Stream:
    """A connection to the first of the host's addresses that answers; raises Failed.

    Each address gets its share of the time, so that a dead IPv6 route does not use up IPv4's.
    """
    with _failures():
        found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    failure = Failed("the host has no address")
    for index, (family, kind, proto, _, address) in enumerate(found):
        with _failures():
            sock = socket.socket(family, kind, proto)
        try:
            sock.settimeout(deadline.left() / (len(found) - index))
            with _failures():
                sock.connect(address)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return Stream(_secured(sock, target, deadline), deadline)
        except Failed as error:
            sock.close()
            failure = error
    raise failure


def _secured(sock: socket.socket, target: Target, deadline: Deadline) -> socket.socket:
    """The socket under TLS where the URL asks for it; the certificate is always checked."""
    if not target.secure:
        return sock
    sock.settimeout(deadline.left())
    with _failures():
        return _tls_context().wrap_socket(sock, server_hostname=target.host)


def _tls_context() -> ssl.SSLContext:
    """One context per process: reading the system's certificates takes longer than the handshake."""
    if not _contexts:
        import ssl

        _contexts.append(ssl.create_default_context())
    return _contexts[0]


_contexts: list[ssl.SSLContext] = []

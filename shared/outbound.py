"""The one way HTTP requests leave MishPulse: to checked addresses only, within a deadline, keeping little.

aiohttp's connector asks `socket_factory` for every connection attempt with the very address that is about to
be connected, be it a literal in the URL or any answer of the resolver, so a name that changes its answer
between check and connection gains nothing; and its pool does not slow down with many connections. Nothing of
the environment counts: no proxies, no netrc; and no redirects and no cookies.
"""

import asyncio
import contextlib
import contextvars
import socket
import ssl
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import aiohttp
import certifi
from aiohappyeyeballs import AddrInfoType
from yarl import URL

from shared.errors import DeliveryError, Failure
from shared.resolver import Resolver
from shared.retry import parse_retry_after
from shared.targets import Network, check_url, forbidden

DEADLINE = 15.0
"""Seconds for a whole request, from the lookup of the name to the last byte that is read."""

KEPT_CHARACTERS = 1000
MAX_READ = 4 * KEPT_CHARACTERS
"""Bytes after which reading stops: as many as the kept characters can take in UTF-8."""

KEEP_ALIVE = 2.0
"""Seconds an idle connection is kept: a burst shares connections, yet below the 5 s after which common
servers close one, because a POST sent into a closing connection fails."""

MOST_KEPT = 300
"""Origins to which idle connections are kept; for others each is closed after its request, for it is an open file."""

OURS = {"Accept": "*/*", "Accept-Encoding": "identity", "User-Agent": "MishPulse/1"}
"""Headers of every request, unless the caller names them."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer of any status. `body` is its first 1,000 characters; `retry_after` in seconds."""

    status: int
    body: str
    headers: Mapping[str, str] = field(default_factory=dict)
    retry_after: float | None = None


class ForbiddenAddress(OSError):  # noqa: N818 - aiohttp tries the next address on an OSError
    """The check refused an address. The socket was never made."""


_refused: contextvars.ContextVar[list[str]] = contextvars.ContextVar("refused")
"""What the check refused during this request: the connector folds several addresses' errors into one text."""


class Sender:
    """Sends requests; one per process, used by any number of tasks at once, closed at the end.

    `allowed` are the exceptions of PULSE_ALLOW_PRIVATE_TARGETS; `deadline` in seconds for each request. Must
    be made and closed in a running event loop.
    """

    def __init__(
        self,
        allowed: Sequence[Network] = (),
        *,
        deadline: float = DEADLINE,
        resolver: Resolver | None = None,
        tls: ssl.SSLContext | None = None,
        most_kept: int = MOST_KEPT,
    ) -> None:
        self.allowed = tuple(allowed)
        self.deadline = deadline
        self.most_kept = most_kept
        self._kept: OrderedDict[tuple[str, str], float] = OrderedDict()
        """Origins by the time at which the newest connection to each became idle, oldest first."""
        self.resolver = resolver or Resolver()
        self.tls = tls or tls_context()
        connector = aiohttp.TCPConnector(
            limit=0,  # the ledger limits requests in flight per target; here, one target could starve others
            ttl_dns_cache=10,
            resolver=self.resolver,
            ssl=self.tls,
            keepalive_timeout=KEEP_ALIVE,
            socket_factory=self._socket,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            auto_decompress=False,  # a small answer that unpacks to gigabytes is not unpacked
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),  # `post` has one for the whole
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes every connection; requests still running fail."""
        await self._session.close()

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Reply:
        """Posts `body` and returns the answer, whatever its status; a redirect is an answer like any other.

        Raises DeliveryError with a label of the closed set when there is no answer: permanent only for a URL
        that no request can be made to. The message names the host at most: paths and queries carry secrets.
        """
        return await self._request("POST", url, body, headers)

    async def get(self, url: str) -> Reply:
        """Asks for `url` and returns the answer; otherwise as `post`."""
        return await self._request("GET", url, None, {})

    async def _request(self, method: str, url: str, body: bytes | None, headers: Mapping[str, str]) -> Reply:
        address = _address(url)
        host = address.host or ""
        refused: list[str] = []
        _refused.set(refused)
        try:
            async with asyncio.timeout(self.deadline):
                return await self._exchange(method, address, body, headers)
        except TimeoutError:
            raise DeliveryError(
                f"No complete answer from {host} within {self.deadline:g} s.", label="timeout"
            ) from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise _failure(error, host, refused) from None

    async def connect(self, host: str, port: int, allowed: Sequence[Network] | None = None) -> socket.socket:
        """A connected, non-blocking socket to a checked address of `host`, for protocols other than HTTP.

        `allowed` stands for the sender's own exceptions where the operator chose the host
        (`targets.ANYWHERE`). Tries each answer of the resolver in turn. Raises DeliveryError like `post`; the
        caller closes it.
        """
        refused: list[str] = []
        _refused.set(refused)
        error: OSError = socket.gaierror(socket.EAI_NONAME, "the name has no address")
        try:
            async with asyncio.timeout(self.deadline):
                for info in await self.resolver.addresses(host, port):
                    try:
                        return await _connected(info, self.allowed if allowed is None else allowed)
                    except TimeoutError:
                        raise
                    except OSError as failure:
                        error = failure
        except TimeoutError:
            raise DeliveryError(
                f"No connection to {host} within {self.deadline:g} s.", label="timeout"
            ) from None
        except OSError as failure:
            error = failure
        raise _failure(error, host, refused)

    async def _exchange(self, method: str, url: URL, body: bytes | None, headers: Mapping[str, str]) -> Reply:
        origin = (url.scheme, url.authority)
        keep = self._may_keep(origin)
        ours = OURS if keep else {**OURS, "Connection": "close"}
        request = self._session.request(
            method, url, data=body, headers={**ours, **headers}, allow_redirects=False
        )
        async with request as response:
            text = await _beginning(response.content)
            wait = parse_retry_after(response.headers.get("Retry-After", ""), time.time())
        if keep:
            self._kept[origin] = time.monotonic()
            self._kept.move_to_end(origin)
        return Reply(response.status, text, response.headers, wait)

    def _may_keep(self, origin: tuple[str, str]) -> bool:
        """Whether a connection may stay open after its request, for a burst to one origin shares it."""
        while self._kept and next(iter(self._kept.values())) < time.monotonic() - KEEP_ALIVE:
            self._kept.popitem(last=False)
        return origin in self._kept or len(self._kept) < self.most_kept

    def _socket(self, info: AddrInfoType) -> socket.socket:
        """The connector's factory: a socket for an address that was checked, or ForbiddenAddress."""
        return _socket(info, self.allowed)


def _socket(info: AddrInfoType, allowed: Sequence[Network]) -> socket.socket:
    family, kind, protocol, _, sockaddr = info
    check(sockaddr[0], allowed)
    return socket.socket(family, kind, protocol)


async def _connected(info: AddrInfoType, allowed: Sequence[Network]) -> socket.socket:
    sock = _socket(info, allowed)
    try:
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, info[4])
    except BaseException:
        sock.close()
        raise
    return sock


def check(address: str, allowed: Sequence[Network]) -> None:
    """Raises ForbiddenAddress unless a connection to this literal address may be made."""
    why = forbidden(address, allowed)
    if why is None:
        return
    with contextlib.suppress(LookupError):
        _refused.get().append(f"{address} is {why}")
    raise ForbiddenAddress(f"{address} is {why}")


def tls_context() -> ssl.SSLContext:
    """Trusts the machine's own certificate authorities, and certifi's where the machine has none."""
    context = ssl.create_default_context()
    if not context.cert_store_stats()["x509_ca"]:
        context.load_verify_locations(certifi.where())
    return context


def _address(url: str) -> URL:
    """The URL as it was typed: quoting it anew would break one that carries a signature."""
    try:
        return URL(check_url(url), encoded=url.isascii())
    except ValueError as error:
        raise DeliveryError(f"No request can be made: {error}", permanent=True, label="config") from None


async def _beginning(body: aiohttp.StreamReader) -> str:
    """The first 1,000 characters; where there is more, the connection is closed instead of reading on."""
    kept = bytearray()
    while len(kept) < MAX_READ and (part := await body.read(MAX_READ - len(kept))):
        kept += part
    return kept.decode("utf-8", "replace")[:KEPT_CHARACTERS]


def _failure(error: Exception, host: str, refused: Sequence[str]) -> DeliveryError:
    """The DeliveryError for whatever aiohttp raised."""
    if refused:
        return DeliveryError(
            f"{host} is no permitted target: {'; '.join(sorted(set(refused)))}. "
            "PULSE_ALLOW_PRIVATE_TARGETS can permit its network.",
            label="forbidden_address",
        )
    label, words = _diagnosis(error)
    return DeliveryError(f"{host}: {words}.", label=label)


_DIAGNOSES: tuple[tuple[type[Exception], Failure, str], ...] = (
    (aiohttp.ClientConnectorDNSError, "dns", "the name could not be looked up"),
    (socket.gaierror, "dns", "the name could not be looked up"),
    (aiohttp.ClientConnectorCertificateError, "tls", "the certificate is not valid for this host"),
    (aiohttp.ClientSSLError, "tls", "the TLS handshake failed"),
    (ssl.SSLError, "tls", "the TLS handshake failed"),
    (aiohttp.ClientConnectorError, "unreachable", "no connection could be made"),
    (aiohttp.ServerDisconnectedError, "disconnected", "the connection was closed before the answer"),
    (aiohttp.ClientOSError, "disconnected", "the connection was closed before the answer"),
    (ConnectionError, "disconnected", "the connection was closed before the answer"),
    (aiohttp.ClientPayloadError, "disconnected", "the answer broke off"),
    (OSError, "unreachable", "no connection could be made"),
    (aiohttp.InvalidURL, "config", "no request can be made to this URL"),
    (aiohttp.ClientResponseError, "protocol", "the answer is no valid HTTP"),
    (ValueError, "protocol", "the answer is no valid HTTP"),
)
"""The first type that fits decides."""


def _diagnosis(error: Exception) -> tuple[Failure, str]:
    if isinstance(getattr(error, "os_error", error), ConnectionRefusedError):
        return "refused", "the connection was refused"
    for kind, label, words in _DIAGNOSES:
        if isinstance(error, kind):
            return label, words
    return "other", f"the request failed ({type(error).__name__})"

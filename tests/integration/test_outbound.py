"""The sender against real servers: what it sends, what it keeps, and when it gives up."""

import asyncio
import gzip
import socket
import threading
import time
from collections.abc import AsyncIterator
from typing import Self

import pytest
from doubles.certificates import make
from doubles.receiver import Receiver
from ssrf_rows import info
from waiting import wait_until

from shared.errors import DeliveryError
from shared.outbound import KEPT_CHARACTERS, MAX_READ, Sender
from shared.resolver import Resolver
from shared.targets import parse_networks

LOOPBACK = parse_networks("127.0.0.0/8")
PAIR = make("hook.test", "127.0.0.1")


@pytest.fixture
async def sender() -> AsyncIterator[Sender]:
    resolver = Resolver(lambda _, port: [info("127.0.0.1", port)])
    async with Sender(LOOPBACK, deadline=0.5, resolver=resolver, tls=PAIR.client()) as sender:
        yield sender


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver() as receiver:
        yield receiver


class RawServer:
    """Answers each connection with fixed bytes, byte for byte, and keeps what it was sent."""

    def __init__(self, answer: bytes, *, pause: float = 0, chunk: int = 65536) -> None:
        self.answer, self.pause, self.chunk = answer, pause, chunk
        self.heard: list[bytes] = []
        self.written = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            self.heard.append(await reader.read(65536))
            for start in range(0, len(self.answer), self.chunk):
                writer.write(self.answer[start : start + self.chunk])
                await writer.drain()
                self.written += self.chunk
                await asyncio.sleep(self.pause)
        except ConnectionError:
            pass
        finally:
            writer.close()


async def fails(sender: Sender, url: str) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        await sender.post(url, b"{}", {})
    return caught.value


async def test_the_request_carries_what_was_given_and_nothing_of_the_machine(sender):
    """Header names keep their spelling; no cookie, no compression is offered."""
    async with RawServer(
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\nSet-Cookie: a=b\r\n\r\nok"
    ) as server:
        for _ in range(2):
            reply = await sender.post(f"{server.url}p?sig=%2Fa%2B", b'{"a": 1}', {"X-Webhook-Event": "e"})
    assert (reply.status, reply.body) == (200, "ok")
    for heard in server.heard:
        head, _, body = heard.partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        assert lines[0] == b"POST /p?sig=%2Fa%2B HTTP/1.1"
        assert b"X-Webhook-Event: e" in lines
        assert b"Accept-Encoding: identity" in lines
        assert b"User-Agent: MishPulse/1" in lines
        assert body == b'{"a": 1}'
        assert b"ookie" not in head


@pytest.mark.parametrize("url_end", ["", "?x=1", "/a#fragment", "/%41/ü", "/a//b/../c"])
async def test_any_url_that_is_accepted_can_be_sent(sender, receiver, url_end):
    """No shape of path or query stops the request."""
    assert (await sender.post(receiver.url + url_end, b"{}", {})).status == 200


@pytest.mark.parametrize("path", ["/hang", "/drip", "/slow?s=5"])
async def test_the_deadline_is_for_the_whole(sender, receiver, path):
    """A server that hangs, drips or dawdles costs the deadline and no more."""
    started = time.monotonic()
    error = await fails(sender, receiver.url + path)
    assert (error.label, error.permanent) == ("timeout", False)
    assert 0.4 < time.monotonic() - started < 1.5


@pytest.mark.parametrize("answer", [b"H", b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 100])
async def test_dripped_headers_end_too(sender, answer):
    """So do headers that never come to an end."""
    async with RawServer(answer * 50, pause=0.05, chunk=1) as server:
        assert (await fails(sender, server.url)).label in {"timeout", "protocol"}


async def test_a_large_answer_is_not_read(sender, receiver):
    """The first characters are kept and the connection is closed."""
    reply = await sender.post(f"{receiver.url}/large", b"{}", {})
    assert reply.body == "x" * KEPT_CHARACTERS


async def test_reading_stops_soon(sender):
    """Of a hundred megabytes, what fits into buffers is all that is taken."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 104857600\r\n\r\n"
    async with RawServer(head + b"y" * (100 << 20)) as server:
        assert (await sender.post(server.url, b"{}", {})).body == "y" * KEPT_CHARACTERS
    assert server.written < 30 << 20


async def test_what_is_kept_is_counted_in_characters(sender, receiver):
    """Four-byte characters are kept whole, and broken UTF-8 breaks nothing."""
    receiver.answers = [(200, "🔥" * 3000, {})]
    assert (await sender.post(receiver.url, b"{}", {})).body == "🔥" * KEPT_CHARACTERS
    body = b"\xff\xfe" * MAX_READ
    async with RawServer(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body) as server:
        assert (await sender.post(server.url, b"{}", {})).body == "�" * KEPT_CHARACTERS


async def test_a_compressed_answer_stays_compressed(sender):
    """Asked for none, what comes all the same is not unpacked."""
    bomb = gzip.compress(b"0" * (10 << 20))
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb)
    async with RawServer(head + bomb) as server:
        assert "0000" not in (await sender.post(server.url, b"{}", {})).body


@pytest.mark.parametrize(
    ("answer", "label"),
    [
        (b"", "disconnected"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", "disconnected"),
        (b"nonsense\r\n\r\n", "protocol"),
        (b"HTTP/1.1 999999 OK\r\n\r\n", "protocol"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: minus\r\n\r\n", "protocol"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "protocol"),
        (b"HTTP/1.1 200 OK\r\n" + b"A" * 100_000 + b": b\r\n\r\n", "protocol"),
    ],
)
async def test_no_valid_answer(sender, answer, label):
    """Each kind of failure has its word, and none is permanent."""
    async with RawServer(answer) as server:
        error = await fails(sender, server.url)
    assert (error.label, error.permanent) == (label, False)


async def test_nobody_listens(sender):
    """A refused connection is told from one that cannot be made."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    assert (await fails(sender, f"http://127.0.0.1:{port}/")).label == "refused"


async def test_a_name_that_does_not_exist():
    """The error names the host and nothing of the path, which may hold a token."""

    def lookup(host: str, port: int) -> list:
        raise socket.gaierror(socket.EAI_NONAME, "no such name")

    async with Sender(deadline=0.5, resolver=Resolver(lookup), tls=PAIR.client()) as sender:
        error = await fails(sender, "http://nowhere.test/secret?token=secret")
    assert error.label == "dns"
    assert "nowhere.test" in str(error)
    assert "secret" not in str(error)


async def test_tls_checks_the_name_and_tells_it(sender):
    """The connection goes to the checked address; SNI, certificate and Host go by the name."""
    seen: list[str | None] = []
    context = PAIR.server()
    context.sni_callback = lambda _, name, __: seen.append(name)
    async with Receiver(tls=context) as receiver:
        reply = await sender.post(f"https://hook.test:{receiver.port}/", b"{}", {})
        error = await fails(sender, f"https://other.test:{receiver.port}/")
    assert reply.status == 200
    assert seen == ["hook.test", "other.test"]
    assert receiver.journal.received[0]["headers"]["Host"] == f"hook.test:{receiver.port}"
    assert error.label == "tls"


@pytest.mark.parametrize(
    "url",
    ["ftp://example.org/", "http://", "http://a:b@example.org/", "http://example.org:99999/", "x" * 3000, ""],
)
async def test_a_url_that_no_request_can_be_made_to(sender, url):
    """It fails for good, before anything is looked up."""
    error = await fails(sender, url)
    assert (error.label, error.permanent) == ("config", True)


@pytest.mark.parametrize(("value", "seconds"), [("7", 7.0), ("soon", None), ("-3", None)])
async def test_retry_after_in_seconds(sender, receiver, value, seconds):
    """What is no number of seconds and no date says nothing."""
    receiver.answers = [(503, "", {"Retry-After": value})]
    assert (await sender.post(receiver.url, b"{}", {})).retry_after == seconds


async def test_connections_are_shared_in_a_burst(sender, receiver):
    """A second request does not connect again; an idle connection is given up before common servers do."""
    for _ in range(10):
        await sender.post(receiver.url, b"{}", {})
    assert len(receiver.journal.received) == 10
    connector = sender._session.connector
    assert sum(len(idle) for idle in connector._conns.values()) == 1
    assert connector._keepalive_timeout < 5


async def test_one_slow_target_delays_no_other(receiver):
    """A hundred requests that hang: a hundred beside them are through before the first of those ends."""
    async with Sender(LOOPBACK, deadline=5.0, tls=PAIR.client()) as sender:
        hanging = [asyncio.create_task(sender.post(f"{receiver.url}/hang", b"{}", {})) for _ in range(100)]
        await asyncio.gather(*(sender.post(receiver.url, b"{}", {}) for _ in range(100)))
        assert not any(task.done() for task in hanging)
        for task in hanging:
            task.cancel()
        await asyncio.gather(*hanging, return_exceptions=True)


async def test_dead_name_servers_hold_up_their_own_names_alone(receiver):
    """Forty names that never resolve, and another name at once."""
    release = threading.Event()

    def lookup(host: str, port: int) -> list:
        if host != "quick.test":
            release.wait(5)
        return [info("127.0.0.1", port)]

    async with Sender(LOOPBACK, deadline=0.5, resolver=Resolver(lookup), tls=PAIR.client()) as sender:
        stuck = [
            asyncio.create_task(fails(sender, f"http://slow{n}.test:{receiver.port}/")) for n in range(40)
        ]
        await asyncio.sleep(0)
        assert (await sender.post(f"http://quick.test:{receiver.port}/", b"{}", {})).status == 200
        assert {error.label for error in await asyncio.gather(*stuck)} == {"timeout"}
        release.set()


async def test_a_cancelled_request_leaves_nothing_behind(sender, receiver):
    """A worker that stops closes what it had open."""
    task = asyncio.create_task(sender.post(f"{receiver.url}/hang", b"{}", {}))
    await wait_until(lambda: receiver.journal.received, "the request has arrived")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert sender._session.connector._acquired == set()


async def test_idle_connections_are_kept_to_some_origins_only(receiver: Receiver):
    """Each is an open file: beyond the limit a connection is closed after its request, a burst still shares its own."""
    async with Receiver() as other, Sender(LOOPBACK, most_kept=1) as sender:
        for _ in range(2):
            for one in (receiver, other):
                await sender.post(f"{one.url}/", b"{}", {})
    asked = [one.journal.received for one in (receiver, other)]
    assert ["Connection" in request["headers"] for request in asked[0]] == [False, False]
    assert [request["headers"].get("Connection") for request in asked[1]] == ["close", "close"]

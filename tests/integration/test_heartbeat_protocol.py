"""The short way of a heartbeat through the HTTP protocol, to the byte: it must be told from the long one by nothing."""

import asyncio
import functools
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from collecting import Collector, collecting
from serving import serving
from waiting import wait_until

from services.collector import protocol
from services.collector.app import create_app
from shared import keys, monitors
from shared.connection import Store
from shared.monitors import NewMonitor
from shared.settings import load

OK = b'{"result": "ok"}'


@dataclass
class Line:
    """One connection, spoken to in bytes."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def ask(self, *pieces: bytes) -> tuple[bytes, bytes]:
        """Head and body of the answer to a request that is sent piece by piece."""
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()
            await asyncio.sleep(0)
        return await self.answer()

    async def answer(self) -> tuple[bytes, bytes]:
        async with asyncio.timeout(5):
            head = await self.reader.readuntil(b"\r\n\r\n")
            length = int(re.search(rb"content-length: (\d+)", head)[1])  # type: ignore[index]
            return head, await self.reader.readexactly(length)

    async def ended(self) -> bool:
        """Whether the server closed the connection."""
        async with asyncio.timeout(5):
            return await self.reader.read() == b""


@pytest.fixture
async def collector(store: Store) -> AsyncIterator[Collector]:
    async with collecting(store) as made:
        yield made


async def known(collector: Collector) -> tuple[str, str]:
    """The id and token of a monitor that the collector has in its cache, so that the short way is open."""
    monitor_id, token = await collector.monitor()
    await collector.client.post(f"/api/heartbeat/{token}")
    return monitor_id, token


Dial = Callable[[str], Awaitable[Line]]


@pytest.fixture
async def line() -> AsyncIterator[Dial]:
    """Opens connections to a URL, which end with the test."""
    opened: list[asyncio.StreamWriter] = []

    async def dial(url: str) -> Line:
        host, port = url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        opened.append(writer)
        return Line(reader, writer)

    yield dial
    for writer in opened:
        writer.transport.abort()
    await asyncio.sleep(0)


def post(token: str, body: bytes = b"", *headers: str, version: str = "1.1") -> bytes:
    lines = [
        f"POST /api/heartbeat/{token} HTTP/{version}",
        "Host: x",
        f"Content-Length: {len(body)}",
        *headers,
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def test_both_ways_answer_the_same_bytes(
    collector: Collector, line: Dial, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Accepted, refused, closing: the short way's answer is the long way's."""
    _, token = await known(collector)
    requests = [
        post(token),
        post(token, b'{"status": "warning", "message": "slow"}'),
        post(token, b"nonsense"),
        post(token, b'{"status": "fine"}'),
        post("nobody"),
        post(token, b"", "Connection: close"),
        f"GET /api/heartbeat/{token} HTTP/1.1\r\nHost: x\r\n\r\n".encode(),
        post(token, b"", version="1.0"),
    ]

    async def answers() -> list[tuple[bytes, bytes]]:
        found = []
        for request in requests:
            connection = await line(collector.url)
            head, body = await connection.ask(request)
            found.append((re.sub(rb"date: [^\r]*", b"date: now", head), body))
        return found

    short = await answers()
    monkeypatch.setattr(protocol, "METHODS", ())
    assert short == await answers()


async def test_pipelined_requests_are_answered_in_order(collector: Collector, line: Dial) -> None:
    """Short, long and short again in one packet: one answer each, in their order, all recorded."""
    monitor_id, token = await known(collector)
    connection = await line(collector.url)
    connection.writer.write(post(token) + post(token, b"?") + post(token) + post("nobody") + post(token))
    statuses = [int((await connection.answer())[0].split()[1]) for _ in range(5)]
    assert statuses == [200, 422, 200, 403, 200]
    assert len(await collector.beats(monitor_id)) == 1 + 3


async def test_a_request_in_pieces_is_one_heartbeat(collector: Collector, line: Dial) -> None:
    """Cut anywhere, chunked, or announced by Expect."""
    monitor_id, token = await known(collector)
    connection = await line(collector.url)
    whole = post(token, b'{"status": "error", "message": "disk full"}')
    assert (await connection.ask(*(whole[at : at + 1] for at in range(len(whole)))))[1] == OK
    chunked = (
        f"POST /api/heartbeat/{token} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    )
    pieces = (chunked, b'8\r\n{"status\r\n', b'7\r\n": "ok"\r\n', b"1\r\n}\r\n0\r\n\r\n")
    assert (await connection.ask(*pieces))[1] == OK
    connection.writer.write(post(token, b"{}", "Expect: 100-continue")[:-2])
    assert b"100 Continue" in await connection.reader.readuntil(b"\r\n\r\n")
    assert b" 422 " in (await connection.ask(b"{}"))[0]
    kinds = [kind for kind, _, _ in await collector.beats(monitor_id)]
    assert kinds == ["ok", "error", "ok"]


async def test_a_long_body_goes_the_long_way(collector: Collector, line: Dial) -> None:
    """Its message is cut and kept; one over the limit is 413."""
    monitor_id, token = await known(collector)
    connection = await line(collector.url)
    long = b'{"status": "warning", "message": "' + b"x" * 50_000 + b'"}'
    assert (await connection.ask(post(token, long)))[1] == OK
    assert len((await collector.beats(monitor_id))[0][2]) == 10_000
    head, _ = await connection.ask(post(token, b" " * (1 << 20) + long))
    assert b" 413 " in head


async def test_a_token_revoked_behind_the_cache_is_refused(collector: Collector, line: Dial) -> None:
    """The script knows better than the cache; the connection goes on."""
    monitor_id, token = await known(collector)
    _, other = await known(collector)
    connection = await line(collector.url)
    await monitors.delete(collector.store, await collector.read(monitor_id))
    assert b" 403 " in (await connection.ask(post(token)))[0]
    assert (await connection.ask(post(other)))[1] == OK


async def test_a_damaged_record_is_500(collector: Collector, line: Dial) -> None:
    """Also on the short way."""
    monitor_id, token = await known(collector)
    await collector.store.redis.delete(keys.beats(0, monitor_id))
    await collector.store.redis.set(keys.beats(0, monitor_id), "no list")
    assert b" 500 " in (await (await line(collector.url)).ask(post(token)))[0]


async def test_a_client_that_goes_harms_nobody(collector: Collector, line: Dial) -> None:
    """Its heartbeat counts, its answer goes nowhere, half a request is nothing."""
    monitor_id, token = await known(collector)
    for request in (post(token), post(token)[:-10], post(token, b"x" * 9)[:-4]):
        connection = await line(collector.url)
        connection.writer.write(request)
        await connection.writer.drain()
        connection.writer.transport.abort()
    connection = await line(collector.url)
    assert (await connection.ask(post(token)))[1] == OK

    async def two_more() -> bool:
        return len(await collector.beats(monitor_id)) == 3

    await wait_until(two_more, "both whole requests to be recorded")


async def test_an_idle_connection_is_closed_but_never_under_a_request(store: Store, line: Dial) -> None:
    """The server's keep-alive time holds, counted from the last answer."""

    class Short(protocol.HeartbeatProtocol):
        def __init__(self, *positional: Any, **options: Any) -> None:
            super().__init__(*positional, **options)
            self.timeout_keep_alive = 0.4

    app = create_app(store, load())
    app.protocol = functools.partial(Short, *app.protocol.args)
    clock = asyncio.get_running_loop().time
    async with serving(app) as url, httpx.AsyncClient(base_url=url) as client:
        _, token = await monitors.create(store, NewMonitor(name="api-worker"))
        await client.post(f"/api/heartbeat/{token}")
        connection = await line(url)
        for _ in range(3):
            await asyncio.sleep(0.25)
            await connection.ask(post(token))
        answered = clock()
        assert await connection.ended()
        assert 0.35 < clock() - answered < 2
        slow = await line(url)
        await slow.ask(post(token))
        slow.writer.write(post(token)[:20])
        await asyncio.sleep(0.6)
        assert (await slow.ask(post(token)[20:]))[1] == OK


async def test_a_request_half_here_at_the_end_is_answered(store: Store, line: Dial) -> None:
    """A collector that is told to stop waits for the rest of it, answers, and closes."""
    app = create_app(store, load())
    async with serving(app) as url, httpx.AsyncClient(base_url=url) as client:
        monitor, token = await monitors.create(store, NewMonitor(name="api-worker"))
        await client.post(f"/api/heartbeat/{token}")
        await client.aclose()
        half = await line(url)
        half.writer.write(post(token, b"{}")[:-1])
        await half.writer.drain()
        await asyncio.sleep(0.1)

        async def rest() -> tuple[bytes, bytes]:
            await asyncio.sleep(0.4)
            return await half.ask(b"}")

        later = asyncio.create_task(rest())
    head, _ = await later
    assert b" 422 " in head
    assert b"connection: close" in head
    assert await half.ended()
    assert (await monitors.get(store, monitor.id)).status == "alive"

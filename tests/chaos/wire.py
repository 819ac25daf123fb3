"""HTTP/1.1 as small as a heartbeat needs it, for scenarios in which one process plays ten thousand clients.

aiohttp costs the player's process more per request than the collector needs to answer it.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

UNREACHABLE: Final = 0
ANSWER_WITHIN: Final = 10.0
"""Seconds after which a client gives up; `UNREACHABLE` then, though the request may have been carried out."""
IDLE: Final = 4.0
"""Seconds after which a connection is not used again: the services close theirs after 5, and a request that meets the
close is lost, for it is never sent twice."""


class _Connection(asyncio.Protocol):
    """One connection with one request at a time."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.answer: asyncio.Future[tuple[int, bytes]] | None = None
        self.idle_since = 0.0
        self._read = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def ask(self, request: bytes) -> asyncio.Future[tuple[int, bytes]]:
        """A future of status and body; ConnectionError when the connection ends before."""
        assert self.transport is not None
        self._read = b""
        self.answer = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return self.answer

    def data_received(self, data: bytes) -> None:
        self._read += data
        head, blank, body = self._read.partition(b"\r\n\r\n")
        if not blank or self.answer is None or self.answer.done():
            return
        _, _, length = head.lower().partition(b"content-length:")
        if len(body) >= int(length.split(b"\r\n", 1)[0] or 0):
            self.answer.set_result((int(head[9:12]), body))

    def connection_lost(self, error: Exception | None) -> None:
        self.transport = None
        if self.answer and not self.answer.done():
            self.answer.set_exception(ConnectionError(str(error or "closed")))


class Wire:
    """A pool of connections to one HTTP service on loopback; it never sends a request twice."""

    def __init__(self, port: int, token: str = "", connections: int = 64) -> None:
        self.port = port
        self._token = f"Authorization: Bearer {token}\r\n" if token else ""
        self._free: deque[_Connection] = deque()
        self._places = asyncio.Semaphore(connections)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for connection in self._free:
            if connection.transport:
                connection.transport.abort()

    async def post(self, path: str, body: bytes = b"", sending: Callable[[], object] | None = None) -> int:
        """The status of one POST; `UNREACHABLE` when there was no answer.

        `sending` is called once: right before the request is written, or when nobody takes the connection. A player
        that is busy may get to that long after the call.
        """
        status, _ = await self.exchange(path, body, sending=sending)
        return status

    async def exchange(
        self,
        path: str,
        body: bytes = b"",
        method: str = "POST",
        sending: Callable[[], object] | None = None,
    ) -> tuple[int, bytes]:
        """Status and body of one request; `sending` is that of `post`."""
        head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{self._token}"
        kind = "Content-Type: application/json\r\n" if body else ""
        request = f"{head}{kind}Content-Length: {len(body)}\r\n\r\n".encode() + body
        async with self._places:
            connection = None
            try:
                async with asyncio.timeout(ANSWER_WITHIN):
                    try:
                        connection = await self._connection()
                    finally:
                        if sending:
                            sending()
                    answer = await connection.ask(request)
            except (OSError, TimeoutError):
                if connection and connection.transport:
                    connection.transport.abort()
                return UNREACHABLE, b""
            connection.idle_since = asyncio.get_running_loop().time()
            self._free.append(connection)
            return answer

    async def _connection(self) -> _Connection:
        loop = asyncio.get_running_loop()
        while self._free:
            connection = self._free.pop()
            if connection.transport and not connection.transport.is_closing():
                if loop.time() - connection.idle_since < IDLE:
                    return connection
                connection.transport.close()
        _, connection = await loop.create_connection(_Connection, "127.0.0.1", self.port)
        return connection

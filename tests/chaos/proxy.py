"""A proxy in front of Redis or of a receiver that delays, swallows, cuts or refuses, by chance of a seed.

    pass       hands everything on
    delay      hands replies on `delay` seconds late
    blackhole  accepts connections and requests, and never answers
    cut        hands requests on, but of a `share` of the writes closes the connection instead of giving the reply back
    refuse     nobody listens, open connections are closed

It is a process of its own, so that it neither shares the harness's processor time nor its stops; it ends with the
process that started it, through a pipe. `Proxy` starts and controls one:

    async with Proxy("unix:/run/redis", "unix:/run/proxied", seed=7) as proxy:
        await proxy.set("cut", share=0.1)
"""

import asyncio
import contextlib
import json
import os
import random
import re
import sys
from asyncio import subprocess
from collections import Counter, deque
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Literal, Self

Mode = Literal["pass", "delay", "blackhole", "cut", "refuse"]
ENDED: Final = 10.0
"""Seconds that the process is given to end."""
LINE: Final = 1 << 20

REDIS: Final = re.compile(rb"\*\d+\r\n\$\d+\r\n([A-Za-z]+)")
HTTP: Final = re.compile(rb"([A-Z]+) /")
SPARED: Final = frozenset(
    b"AUTH CLIENT CONFIG ECHO EXISTS GET HELLO HGET HGETALL HMGET INFO MGET PING PSUBSCRIBE PUNSUBSCRIBE SELECT"
    b" SUBSCRIBE TIME TYPE UNSUBSCRIBE XINFO XLEN XPENDING XRANGE XREVRANGE ZCARD ZRANGE ZRANGEBYSCORE ZREVRANGE"
    b" ZREVRANGEBYSCORE ZSCORE SCRIPT".split()
)
"""Commands of Redis that write nothing; every HTTP request is taken for a write."""


@dataclass
class Faults:
    """What is done to the traffic, and what was done so far."""

    mode: Mode = "pass"
    share: float = 0.0
    delay: float = 0.0
    counts: Counter[str] = field(default_factory=Counter)


class Relay:
    """The proxy inside its process: one listener, any number of connections."""

    def __init__(self, target: str, listen: str, seed: int) -> None:
        self.target = target
        self.listen = listen
        self.faults = Faults()
        self.chance = random.Random(seed)
        self.open: set[Front] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> str:
        """Listens; returns its address, with the port that the kernel chose for port 0."""
        loop = asyncio.get_running_loop()
        kind, host, port = parts(self.listen)
        if kind == "unix":
            with contextlib.suppress(FileNotFoundError):
                os.unlink(host)  # noqa: PTH108 - one system call of a process that does nothing else
            self._server = await loop.create_unix_server(lambda: Front(self), host)
            return self.listen
        self._server = await loop.create_server(lambda: Front(self), host, port, reuse_address=True)
        self.listen = f"tcp:{host}:{self._server.sockets[0].getsockname()[1]}"
        return self.listen

    async def set(self, mode: Mode, share: float, delay: float) -> None:
        """Changes what is done from now on; connections that were swallowed stay so."""
        self.faults.mode, self.faults.share, self.faults.delay = mode, share, delay
        if mode == "refuse":
            if self._server:
                self._server.close()
                self._server = None
            for front in tuple(self.open):
                front.abort()
        elif self._server is None:
            await self.start()

    def is_cut(self, command: bytes) -> bool:
        """Whether the reply to this request is to be cut; counts the writes."""
        if command.upper() in SPARED:
            return False
        self.faults.counts["writes"] += 1
        return self.faults.mode == "cut" and self.chance.random() < self.faults.share


class Front(asyncio.Protocol):
    """The client's side of a connection. Requests on one connection follow each other, as both protocols are spoken."""

    def __init__(self, relay: Relay) -> None:
        self.relay = relay
        self.transport: asyncio.Transport | None = None
        self.back = Back(self)
        self.idle = True
        self.cutting = False
        self.swallowed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]
        self.relay.open.add(self)
        self.relay.faults.counts["connections"] += 1
        self.connecting = asyncio.ensure_future(self._connect())

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        kind, host, port = parts(self.relay.target)
        try:
            if kind == "unix":
                await loop.create_unix_connection(lambda: self.back, host)
            else:
                await loop.create_connection(lambda: self.back, host, port)
        except OSError:
            self.relay.faults.counts["unreachable"] += 1
            self.abort()

    def data_received(self, data: bytes) -> None:
        if self.relay.faults.mode == "blackhole" or self.swallowed:
            self.relay.faults.counts["swallowed"] += not self.swallowed
            self.swallowed = True
            return
        if self.idle and (found := REDIS.match(data) or HTTP.match(data)):
            self.idle = False
            self.cutting = self.relay.is_cut(found[1])
        self.back.send(data)

    def answer(self, data: bytes) -> None:
        """Gives a reply back, or what the mode makes of it."""
        self.idle = True
        if self.cutting:
            self.relay.faults.counts["cut"] += 1
            self.abort()
        elif self.swallowed or self.relay.faults.mode == "blackhole":
            self.swallowed = True
        elif self.transport and not self.transport.is_closing():
            self.transport.write(data)

    def connection_lost(self, _: Exception | None) -> None:
        self.relay.open.discard(self)
        self.back.close()

    def abort(self) -> None:
        """Ends both sides at once."""
        for transport in (self.transport, self.back.transport):
            if transport:
                transport.abort()


class Back(asyncio.Protocol):
    """The server's side of a connection."""

    def __init__(self, front: Front) -> None:
        self.front = front
        self.transport: asyncio.Transport | None = None
        self._early: list[bytes] = []
        self._late: deque[bytes] = deque()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]
        for data in self._early:
            self.transport.write(data)  # type: ignore[union-attr]
        if self.front.transport is None or self.front.transport.is_closing():
            self.close()

    def send(self, data: bytes) -> None:
        """Hands a request on, once the server is reached."""
        if self.transport is None:
            self._early.append(data)
        else:
            self.transport.write(data)

    def data_received(self, data: bytes) -> None:
        faults = self.front.relay.faults
        if faults.mode != "delay" and not self._late:
            self.front.answer(data)
            return
        faults.counts["delayed"] += 1
        self._late.append(data)
        asyncio.get_running_loop().call_later(faults.delay, self._answer_late)

    def _answer_late(self) -> None:
        self.front.answer(self._late.popleft())

    def connection_lost(self, _: Exception | None) -> None:
        if self.front.transport and not self.front.swallowed:
            self.front.transport.close()

    def close(self) -> None:
        """Ends this side when the client is gone."""
        if self.transport:
            self.transport.close()


def parts(address: str) -> tuple[str, str, int]:
    """`unix:/path` or `tcp:host:port` in its parts."""
    kind, _, rest = address.partition(":")
    if kind == "unix":
        return kind, rest, 0
    host, _, port = rest.rpartition(":")
    return kind, host, int(port)


class Proxy:
    """A proxy process between clients of `listen` and the server at `target`, both `unix:/path` or `tcp:host:port`."""

    def __init__(self, target: str, listen: str = "tcp:127.0.0.1:0", *, seed: int = 0) -> None:
        self.target, self.listen, self.seed = target, listen, seed
        self._turn = asyncio.Lock()
        self._process: subprocess.Process | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def port(self) -> int:
        return parts(self.listen)[2]

    async def __aenter__(self) -> Self:
        self._process = await subprocess.create_subprocess_exec(
            *(sys.executable, __file__, self.target, self.listen, str(self.seed)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            limit=LINE,
        )
        self.listen = (await self._answer())["listen"]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.close()
        await asyncio.wait_for(self._process.wait(), ENDED)

    async def set(self, mode: Mode, *, share: float = 0.0, delay: float = 0.0) -> None:
        """Does this to the traffic from now on; `delay` in seconds, `share` of the writes from 0 to 1."""
        await self._ask({"mode": mode, "share": share, "delay": delay})

    async def counts(self) -> Counter[str]:
        """What it did so far: connections, writes, cut, delayed, swallowed, unreachable."""
        return Counter((await self._ask({}))["counts"])

    async def _ask(self, command: dict[str, Any]) -> dict[str, Any]:
        assert self._process is not None
        assert self._process.stdin is not None
        async with self._turn:
            self._process.stdin.write(json.dumps(command).encode() + b"\n")
            await self._process.stdin.drain()
            return await self._answer()

    async def _answer(self) -> dict[str, Any]:
        assert self._process is not None
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the proxy in front of {self.target} ended: {await self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer


async def main(target: str, listen: str, seed: str) -> None:
    """Serves until standard input ends; a line of JSON there changes what is done, and is answered with the counts."""
    relay = Relay(target, listen, int(seed))
    print(json.dumps({"listen": await relay.start()}), flush=True)  # noqa: T201 - the answer
    commands = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(commands), os.fdopen(0, "rb")
    )
    while line := await commands.readline():
        command = json.loads(line)
        if command:
            await relay.set(command["mode"], command["share"], command["delay"])
        print(json.dumps({"counts": relay.faults.counts}), flush=True)  # noqa: T201 - the answer
    await relay.set("refuse", 0, 0)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(*sys.argv[1:]))

"""What the measurements of webhooks stand on: a server, receivers, processes of their own, and a table."""

import asyncio
import contextlib
import multiprocessing
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from servers import Server, binaries  # noqa: E402 - found by the line above

from shared import logs  # noqa: E402
from shared.connection import Store, connect  # noqa: E402
from shared.schema import open_store  # noqa: E402
from shared.secrets import new_key  # noqa: E402
from shared.settings import Settings  # noqa: E402

TOKEN = "bench-token"


@asynccontextmanager
async def fresh_store() -> AsyncIterator[tuple[Store, Settings]]:
    """An empty store on a server of its own (`PULSE_BENCH_SERVER` names one, else the embedded Valkey)."""
    logs.setup("bench", "error")
    name = os.environ.get("PULSE_BENCH_SERVER", "valkey")
    with tempfile.TemporaryDirectory(prefix="pulse-bench-") as folder:
        server = Server(name, binaries()[name], Path(folder))
        server.start("--appendonly", "no")
        redis = connect(server.url)
        settings = Settings(
            redis_url=server.url,
            admin_token=TOKEN,
            secret_key=new_key(),
            allow_private_targets="127.0.0.0/8",
            _env_file=None,
        )
        try:
            yield await open_store(redis, 1), settings
        finally:
            await redis.aclose()
            server.stop()


@contextmanager
def process(target: Callable[..., None], *arguments: Any) -> Iterator[int]:
    """Runs `target(pipe, *arguments)` in a process of its own; the port that it sends back."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    child = context.Process(target=target, args=(theirs, *arguments), daemon=True)
    child.start()
    try:
        yield ours.recv()
    finally:
        child.terminate()
        child.join(5)


class Answering(asyncio.Protocol):
    """An HTTP receiver as cheap as one can be: it reads a request and answers 200, 10 % of the work of a server."""

    REPLY = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

    def connection_made(self, transport: Any) -> None:
        self.transport, self.buffer = transport, b""

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head = self.buffer[:end].lower()
            length = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
            if len(self.buffer) < end + 4 + length:
                return
            self.got(self.buffer[: end + 4 + length])
            self.buffer = self.buffer[end + 4 + length :]

    def got(self, _request: bytes) -> None:
        self.transport.write(self.REPLY)


def answer(pipe: Any) -> None:
    """A process that answers 200 to everything."""

    async def serve() -> None:
        server = await asyncio.get_running_loop().create_server(Answering, "127.0.0.1", 0)
        pipe.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve())


def percentile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def table(title: str, rows: Sequence[tuple[str, str]]) -> None:
    """Prints what was measured."""
    width = max(len(name) for name, _ in rows)
    print(f"\n{title}")
    for name, value in rows:
        print(f"  {name:<{width}}  {value}")

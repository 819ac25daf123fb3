"""What the measurements stand on: a server, receivers, and processes of their own."""

import asyncio
import contextlib
import multiprocessing
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from servers import Server, binaries  # noqa: E402 - found by the line above

from services import embedded  # noqa: E402
from shared import logs  # noqa: E402
from shared.connection import Store, connect  # noqa: E402
from shared.schema import open_store  # noqa: E402
from shared.secrets import new_key  # noqa: E402
from shared.settings import Settings  # noqa: E402

TOKEN = "bench-token"
DURABLE = ("--appendonly", "yes", "--appendfsync", "everysec")
"""What an acknowledged heartbeat stands on; every row pays for it."""


EMBEDDED = "valkey"


def server_name() -> str:
    """The server under the measurements: `PULSE_BENCH_SERVER`, else the embedded Valkey."""
    return os.environ.get("PULSE_BENCH_SERVER", EMBEDDED)


@contextmanager
def serving(
    name: str = "", core: int | None = None, options: Sequence[str] = DURABLE, snapshot: Path | None = None
) -> Iterator[Server]:
    """A server of its own, tuned as ours are, empty or as in `snapshot`, on `core` when one is named."""
    name = name or server_name()
    with tempfile.TemporaryDirectory(prefix="pulse-bench-") as folder:
        if snapshot:
            shutil.copy(snapshot, Path(folder, "dump.rdb"))
        binary = embedded.Binary.at(binaries()[name])
        server = Server(name, binary.path, Path(folder), environment=embedded.environment(binary))
        server.start(*embedded.tuning(binary), *options)
        assert server.process is not None
        if core is not None:
            os.sched_setaffinity(server.process.pid, {core})
        try:
            yield server
        finally:
            server.stop(kill=True)  # a million monitors would be written out for nobody


def settings_for(url: str, **more: Any) -> Settings:
    """Settings that reach the receivers on loopback."""
    return Settings(
        redis_url=url,
        admin_token=TOKEN,
        secret_key=new_key(),
        allow_private_targets="127.0.0.0/8",
        _env_file=None,
        **more,
    )


@asynccontextmanager
async def fresh_store(core: int | None = None) -> AsyncIterator[tuple[Store, Settings]]:
    """An empty store on a server of its own."""
    logs.setup("bench", "error")
    with serving(core=core) as server:
        redis = connect(server.url)
        try:
            yield await open_store(redis, 1), settings_for(server.url)
        finally:
            await redis.aclose()


@contextmanager
def process(target: Callable[..., None], *arguments: Any) -> Iterator[Any]:
    """Runs `target(pipe, *arguments)` in a process of its own; gives what it sends back first."""
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


async def make_durable(store: Store) -> None:
    """Switches the append-only file on and waits until it holds everything: loading is no part of a measurement."""
    await store.redis.config_set("appendfsync", "everysec")
    await store.redis.config_set("appendonly", "yes")
    while True:
        info = await store.redis.info("persistence")
        if info["aof_enabled"] and not (info["aof_rewrite_in_progress"] or info["aof_rewrite_scheduled"]):
            return
        await asyncio.sleep(0.1)


def cpu_seconds(pid: int) -> float:
    """User and system time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident(pid: int) -> int:
    """Bytes of memory that a process holds."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

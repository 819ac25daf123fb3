"""A collector that was told to end hears nobody any more, however long its last requests take: it must not say so."""

import contextlib
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from group import ROOT, environment, free_port, get
from servers import Server
from waiting import wait_for, wait_until
from watching import NothingWaits

from services.collector.listening import STAMP_EVERY, Listening
from shared import keys, monitors, scripts
from shared.connection import Store
from shared.monitors import NewMonitor
from shared.settings import load

DRAIN = {"collector": 5, "up": 2}
"""Seconds that a request under way is given (`services.process`)."""


@contextlib.contextmanager
def running(command: str, port: int, redis_url: str, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The plain collector, or the whole group, as a process of its own."""
    more = ("--data", str(folder / "data"), "--redis-url", redis_url) if command == "up" else ()
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "services.cli", command, "--port", str(port), *more],
            cwd=ROOT,
            env=environment(PULSE_REDIS_URL=redis_url, PULSE_METRICS_PORT="0"),
            stdout=log,
            stderr=log,
        )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(12)


async def milliseconds(store: Store) -> int:
    seconds, micros = await store.redis.time()
    return seconds * 1000 + micros // 1000


async def heard(store: Store) -> int:
    return int(await store.redis.get(keys.ingest(0)) or 0)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("command", ["collector", "up"])
async def test_the_time_of_a_slow_drain_belongs_to_the_gap(
    store: Store, server: Server, tmp_path: Path, command: str
):
    """A request is held open over SIGTERM: the process lives on for it, the newest stamp is from before."""
    _, token = await monitors.create(store, NewMonitor(name="worker"))
    port = free_port()
    with running(command, port, server.url, tmp_path) as process, socket.socket() as slow:
        await wait_until(lambda: get(port, f"/api/heartbeat/{token}")[0] == 200, "it answers", timeout=30)
        slow.connect(("127.0.0.1", port))
        slow.sendall(f"POST /api/heartbeat/{token} HTTP/1.0\r\nContent-Length: 9\r\n\r\n".encode())
        began = await heard(store)
        await wait_until(lambda: _later(store, began), "it stamps, the slow request being there")
        told = await milliseconds(store)
        process.send_signal(signal.SIGTERM)
        await wait_until(lambda: process.poll() is not None, "it ends", timeout=12)
        ended = await milliseconds(store)
    assert ended - told > 1_000 * (DRAIN[command] - 1), "it waited for the request"
    assert await heard(store) <= told + 400, (tmp_path / "log").read_text()
    gap = (await scripts.stamp(store.redis, 0, None)).gap
    (recorded,) = await store.redis.zrange(keys.gaps(0), 0, -1)
    start, _, end = recorded.partition("-")
    assert gap == int(end) - int(start) >= ended - told - 400


async def _later(store: Store, began: int) -> bool:
    return await heard(store) > began


async def test_stamps_end_when_told_and_never_begin_after(store: Store):
    """Told twice, and told before the start: both end in silence."""
    listening = Listening(store, load(), NothingWaits())
    async with listening:
        listening.open()
        await wait_until(lambda: heard(store), "the first stamp")
        listening.close()
        listening.close()
    async with listening:
        listening.open()
        last = await heard(store)
        now = await milliseconds(store)
        await wait_until(lambda: _passed(store, now + 2_000 * STAMP_EVERY), "two stamps' time")
        assert await heard(store) == last


async def _passed(store: Store, then: float) -> bool:
    return await milliseconds(store) > then


@pytest.mark.timeout(60)
def test_the_health_port_opens_when_the_service_is_loaded(server: Server, tmp_path: Path):
    """Whoever is told ready by it finds the service there: what takes its time at the start comes first."""
    port, health = free_port(), free_port()
    with (
        (tmp_path / "log").open("wb") as log,
        subprocess.Popen(
            [sys.executable, "-X", "importtime", "-m", "services.cli", "admin", "--port", str(port)],
            cwd=ROOT,
            env=environment(PULSE_REDIS_URL=server.url, PULSE_METRICS_PORT=str(health)),
            stdout=log,
            stderr=log,
        ) as process,
    ):
        try:
            wait_for(lambda: get(health, "/readyz")[0] == 200, "it is ready", 30)
            loaded = (tmp_path / "log").read_text()
        finally:
            process.terminate()
    assert "services.admin.incidents" in loaded

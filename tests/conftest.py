"""Fixtures of every test: real servers, and an empty store on each of them."""

import functools
import os
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from fastapi.dependencies import models as fastapi_models
from servers import Server, binaries

from shared.connection import Store, connect
from shared.schema import open_store

WANTED = os.environ.get("PULSE_TEST_SERVERS", "").split()
"""Names the servers to test against; empty: every one found."""

SERVERS = {name: path for name, path in binaries().items() if not WANTED or name in WANTED}


def pytest_report_header() -> str:
    return f"servers: {', '.join(f'{name} ({path})' for name, path in SERVERS.items())}"


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True, scope="session")
def signals_as_usual() -> None:
    """Who starts the tests in the background has their processes ignore signals, and those that they start as well."""
    for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)


@pytest.fixture(autouse=True)
def forgotten_apps() -> Iterator[None]:
    """FastAPI remembers thousands of endpoints, and so every app, store and event loop that was ever tested.

    Three million objects at the end of a run: each look for garbage then stops the test under way for two seconds.
    """
    yield
    for cached in vars(fastapi_models).values():
        if isinstance(cached, functools._lru_cache_wrapper):
            cached.cache_clear()


@pytest.fixture(scope="session", params=list(SERVERS))
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A running server; each test that asks for it runs once per server found."""
    with tempfile.TemporaryDirectory(prefix="pulse-") as folder:
        server = Server(request.param, SERVERS[request.param], Path(folder))
        server.start("--appendonly", "no")
        yield server
        server.stop()


@pytest.fixture
async def store(server: Server) -> AsyncIterator[Store]:
    """An empty store of one shard."""
    redis = connect(server.url)
    await redis.flushall()
    await redis.config_set("notify-keyspace-events", "")
    yield await open_store(redis, 1)
    await redis.aclose()

"""The collector's OpenAPI document: it names every route, and no request that it allows or forbids breaks anything."""

import asyncio
import itertools
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
import schemathesis
from collecting import Collector, collecting, sign
from conftest import SERVERS
from fastapi.routing import APIRoute
from hypothesis import HealthCheck
from hypothesis import settings as examples
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi import checks
from servers import Server
from starlette.routing import BaseRoute

from services.collector.app import create_app
from shared.connection import Store, connect
from shared.routes import ROUTES, service_of
from shared.schema import open_store
from shared.settings import load

SECRET = "secret"
ADDRESSES = itertools.count()
APP = create_app(Store(connect("unix:///nowhere")), load())
SCHEMA = schemathesis.openapi.from_dict(APP.openapi())
CHECKS = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]


@dataclass
class Live:
    """A served collector with a monitor and a ping key."""

    url: str = ""
    token: str = ""
    key: str = ""
    ingest: str = ""

    async def fill(self, collector: Collector) -> None:
        self.url = collector.url
        _, self.token = await collector.monitor()
        self.key = await collector.token("ping")
        self.ingest = await collector.token("ingest")


@pytest.fixture(scope="module")
def live() -> Iterator[Live]:
    """The collector in a thread of its own, on the first server found."""
    found, started = Live(), threading.Event()
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    async def serve() -> None:
        redis = connect(server.url)
        async with collecting(await open_store(redis, 1), heartbeat_secret=SECRET) as collector:
            await found.fill(collector)
            started.set()
            await stop.wait()
        await redis.aclose()

    name, binary = next(iter(SERVERS.items()))
    with tempfile.TemporaryDirectory(prefix="pulse-") as folder:
        server = Server(name, binary, Path(folder))
        server.start("--appendonly", "no")
        thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
        thread.start()
        assert started.wait(10)
        yield found
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()
        server.stop()


@SCHEMA.parametrize()
@examples(
    max_examples=25, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
def test_no_request_breaks_the_service(case: schemathesis.Case, live: Live) -> None:
    """Whatever is sent: no 5xx, and the status, headers and body that the document names.

    Half of the requests name what exists, and all may enter, so that they get past the door; each comes from another
    address, so that none is limited.
    """
    number = next(ADDRESSES)
    case.headers["X-Forwarded-For"] = f"10.0.{number // 250}.{number % 250}"
    if len(str(case.query) + str(case.path_parameters)) % 2:
        known = {"token": live.token, "uuid": live.token, "ping_key": live.key, "key": live.key}
        known |= {"slug": "api-worker", "monitor": "api-worker", "group_name": "core_api-worker"}
        case.path_parameters.update({name: known[name] for name in case.path_parameters if name in known})
    bearer = live.token if "external" in case.path else live.ingest
    case.headers["Authorization"] = f"Bearer {bearer}"
    if case.path == "/heartbeat":
        if isinstance(case.body, dict) and "timestamp" in case.body:
            case.body["timestamp"] = time.time()
        case.headers["X-Pulse-Signature"] = sign(raw_body(case), SECRET)
    case.call_and_validate(base_url=live.url, checks=CHECKS, timeout=25)


def raw_body(case: schemathesis.Case) -> bytes:
    """The bytes that `requests` sends for a case."""
    arguments = case.as_transport_kwargs(base_url="http://pulse.test")
    parts = {name: arguments.get(name) for name in ("data", "json", "files")}
    body = requests.Request("POST", "http://pulse.test", **parts).prepare().body
    return body.encode() if isinstance(body, str) else bytes(body or b"")


def flat(routes: Iterable[BaseRoute]) -> Iterator[BaseRoute]:
    for route in routes:
        router = getattr(route, "original_router", None)  # newer FastAPI keeps included routers whole
        yield from flat(router.routes) if router else (route,)


def test_every_route_is_documented() -> None:
    """Those of FastAPI and the plain ASGI ones; each has a tag, a name of its own, and says what it answers."""
    documented = APP.openapi()["paths"]
    for route in flat(APP.api.routes):
        assert isinstance(route, APIRoute), route
        assert {method.lower() for method in route.methods} <= set(documented[route.path]), route.path
    for prefix in APP.plain:
        assert any(path.startswith(prefix) for path in documented), f"nothing is documented under {prefix}"
    operations = [operation for path in documented.values() for operation in path.values()]
    assert all(operation["tags"] and operation["summary"] for operation in operations)
    assert all("503" in operation["responses"] for operation in operations)
    names = [operation["operationId"] for operation in operations]
    assert len(names) == len(set(names))


def test_the_edge_knows_every_route() -> None:
    """Each documented path leads to the collector, and each of the collector's patterns to a documented path."""
    documented = list(APP.openapi()["paths"])
    assert {service_of(path) for path in documented} == {"collector"}
    for pattern in ROUTES["collector"]:
        assert any(path.startswith(pattern.removesuffix("*")) for path in documented), pattern

"""The admin's OpenAPI document: complete, true, and no request that it allows or forbids breaks the service."""

import asyncio
import tempfile
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import schemathesis
from admin_api import ADMIN_TOKEN, settings
from conftest import SERVERS
from fastapi.routing import APIRoute
from hypothesis import HealthCheck
from hypothesis import settings as examples
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi import checks
from servers import Server
from serving import serving
from starlette.routing import BaseRoute

from services.admin.app import create_app
from shared.connection import Store, connect
from shared.schema import open_store

APP = create_app(Store(connect("unix:///nowhere")), settings())
SCHEMA = schemathesis.openapi.from_dict(APP.openapi())
CHECKS = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]
HEADERS = {"Authorization": f"Bearer {ADMIN_TOKEN}"}


@dataclass
class Live:
    """A served admin with one of each thing."""

    url: str = ""
    monitor_id: str = ""
    channel_id: int = 0
    incident_id: str = "none"

    def fill(self) -> None:
        with httpx.Client(base_url=self.url, headers=HEADERS) as client:
            self.monitor_id = client.post("/api/monitors", json={"name": "api-worker"}).json()["id"]
            channel = {"name": "x", "type": "webhook", "config": {"url": "http://127.0.0.1:1/"}}
            self.channel_id = client.post("/api/channels", json=channel).json()["id"]


@pytest.fixture(scope="module")
def live() -> Iterator[Live]:
    """The admin in a thread of its own, on the first server found."""
    found, started = Live(), threading.Event()
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    async def serve() -> None:
        redis = connect(server.url)
        async with serving(create_app(await open_store(redis, 1), settings())) as found.url:
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
        found.fill()
        yield found
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()
        server.stop()


@SCHEMA.parametrize()
@examples(
    max_examples=12, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
def test_no_request_breaks_the_service(case: schemathesis.Case, live: Live) -> None:
    """Whatever is asked: no 5xx, and the status, headers and body that the document names."""
    chosen = len(str(case.path_parameters)) % 2
    if chosen and case.method != "DELETE" and not case.path.endswith(("/test", "/rotate-token")):
        known = {"monitor_id": live.monitor_id, "channel_id": live.channel_id}
        case.path_parameters.update({name: known[name] for name in case.path_parameters if name in known})
    case.call_and_validate(base_url=live.url, headers=HEADERS, checks=CHECKS, timeout=25)


def flat(routes: Iterable[BaseRoute]) -> Iterator[BaseRoute]:
    for route in routes:
        router = getattr(route, "original_router", None)  # newer FastAPI keeps included routers whole
        yield from flat(router.routes) if router else (route,)


def test_every_route_is_documented() -> None:
    """Each has a summary, a description of what it does and its errors; none is hidden."""
    documented = APP.openapi()["paths"]
    for route in flat(APP.routes):
        assert isinstance(route, APIRoute), route
        assert route.include_in_schema, route.path
        for method in route.methods:
            operation = documented[route.path][method.lower()]
            assert operation["description"], route.path
            assert operation["tags"], route.path
            if route.path != "/api/openapi.json":
                assert {"401", "403", "503"} <= set(operation["responses"]), route.path
                assert operation["security"], route.path


async def test_the_document_is_served() -> None:
    """GET /api/openapi.json answers it without a token, for it holds no secret."""
    transport = httpx.ASGITransport(APP)
    async with httpx.AsyncClient(transport=transport, base_url="http://pulse.test") as client:
        assert (await client.get("/api/openapi.json")).json() == APP.openapi()

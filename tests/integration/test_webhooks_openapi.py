"""The OpenAPI document of the webhooks service: complete, true, and no request breaks the service."""

import asyncio
import tempfile
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

import httpx
import pytest
import schemathesis
from conftest import SERVERS
from fastapi.routing import APIRoute
from hypothesis import HealthCheck
from hypothesis import settings as examples
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi import checks
from servers import Server
from serving import serving
from starlette.routing import BaseRoute
from webhooks_api import ADMIN_TOKEN, settings

from services.webhooks.app import create_app
from shared.connection import Store, connect
from shared.schema import open_store

NOWHERE = Store(connect("unix:///nowhere"))
APP = create_app(NOWHERE, settings(NOWHERE))
DOCUMENT = APP.openapi()
SCHEMA = schemathesis.openapi.from_dict(DOCUMENT)
CHECKS = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]
HEADERS = {"Authorization": f"Bearer {ADMIN_TOKEN}"}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """The service in a thread of its own, on the first server found, with one webhook and one delivery."""
    found: list[str] = []
    started = threading.Event()
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    async def serve() -> None:
        redis = connect(server.url)
        store = await open_store(redis, 1)
        async with serving(create_app(store, settings(store))) as base:
            found.append(base)
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
        body = {"name": "x", "url": "http://127.0.0.1:1/", "event_type": "*"}
        with httpx.Client(base_url=found[0], headers=HEADERS) as client:
            assert client.post("/webhooks", json=body).json()["id"] == 1
            assert client.post("/webhooks/1/test", timeout=20).json()["id"] == 1
        yield found[0]
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()
        server.stop()


@SCHEMA.parametrize()
@examples(
    max_examples=12, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
def test_no_request_breaks_the_service(case: schemathesis.Case, url: str) -> None:
    """Whatever is asked: no 5xx, and the status, headers and body that the document names."""
    chosen = len(str(case.path_parameters)) % 2
    if chosen and case.method != "DELETE" and not case.path.endswith("/test"):
        case.path_parameters.update(dict.fromkeys(case.path_parameters, 1))
    case.call_and_validate(base_url=url, headers=HEADERS, checks=CHECKS, timeout=25)


def flat(routes: Iterable[BaseRoute]) -> Iterator[BaseRoute]:
    for route in routes:
        router = getattr(route, "original_router", None)  # newer FastAPI keeps included routers whole
        yield from flat(router.routes) if router else (route,)


def test_every_route_is_documented() -> None:
    """Each says what it does, its errors and its token; the WebSocket stands there too."""
    for route in flat(APP.api.routes):
        assert isinstance(route, APIRoute), route
        assert route.include_in_schema, route.path
        for method in route.methods:
            operation = DOCUMENT["paths"][route.path][method.lower()]
            assert operation["description"], route.path
            assert operation["tags"], route.path
            if route.path != "/ws":
                assert {"401", "403", "503"} <= set(operation["responses"]), route.path
                assert operation["security"], route.path
    assert {"101", "426", "429"} <= set(DOCUMENT["paths"]["/ws"]["get"]["responses"])

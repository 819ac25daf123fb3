"""Every route of an app is reached through the one origin, under its own service."""

import importlib
import inspect
import re
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from shared import routes
from shared.connection import Store, connect
from shared.settings import load

SERVICES = (*routes.ROUTES, routes.REST)


def flat(found: Iterable[Any]) -> Iterator[Any]:
    for route in found:
        router = getattr(route, "original_router", None)  # newer FastAPI keeps included routers whole
        yield from flat(router.routes) if router else (route,)


@pytest.fixture
async def app(service: str, monkeypatch) -> Any:
    monkeypatch.setenv("PULSE_SECRET_KEY", "0" * 43)
    module = importlib.import_module(f"services.{service}.app")
    redis = connect("redis://127.0.0.1:1/0")
    made = module.create_app(Store(redis), load())
    await redis.aclose()
    return made


@pytest.fixture
def paths(app: Any) -> list[str]:
    """What the service's app answers, documented or not, with a sample in place of each parameter."""
    found = {*app.openapi()["paths"], *(route.path for route in flat(app.router.routes))}
    return sorted(re.sub(r"\{[^}]*\}", "sample", path) for path in found - set(routes.UNROUTED))


@pytest.mark.parametrize("service", SERVICES)
async def test_every_route_is_in_the_table(service: str, paths):
    """A route whose path the table gives to another service could never be called from outside."""
    assert paths
    assert {path: routes.service_of(path) for path in paths if routes.service_of(path) != service} == {}


@pytest.mark.parametrize("service", ["collector"])
async def test_every_pattern_is_answered(service: str, paths):
    """A pattern of the table that its service does not answer would hide the rest behind a 404."""
    unanswered = [
        pattern
        for pattern in routes.ROUTES[service]
        if not any(path.startswith(pattern.removesuffix("*")) for path in paths)
    ]
    assert unanswered == []


def calls(dependant: Any) -> Iterator[Any]:
    """What a route's dependencies call, one below the other."""
    for each in dependant.dependencies:
        yield each.call
        yield from calls(each)


@pytest.mark.parametrize("service", SERVICES)
async def test_no_request_waits_for_a_thread(service: str, app: Any):
    """FastAPI hands a dependency that is a plain function to a thread: a fifth of what an event costs, for a name."""
    found = [route for route in flat(app.router.routes) if hasattr(route, "dependant")]
    needed = {call for route in found for call in calls(route.dependant)}
    assert needed
    coroutine = inspect.iscoroutinefunction
    assert [call for call in needed if not coroutine(call) and not coroutine(type(call).__call__)] == []

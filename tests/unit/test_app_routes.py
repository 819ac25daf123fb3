"""Every route of an app is reached through the one origin, under its own service."""

import re
from typing import Any

import pytest

from shared import routes
from shared.connection import Store, connect
from shared.settings import load

SERVICES = (*routes.ROUTES, routes.REST)


def paths_of(app: Any) -> list[str]:
    """The paths that an app answers, with a sample in place of each parameter."""
    found = [route.path for route in app.router.routes]
    return [re.sub(r"\{[^}]*\}", "sample", path) for path in found]


@pytest.mark.parametrize("service", SERVICES)
async def test_every_route_is_in_the_table(service: str, monkeypatch):
    """A route whose path the table gives to another service could never be called from outside."""
    monkeypatch.setenv("PULSE_SECRET_KEY", "0" * 64)
    module = pytest.importorskip(f"services.{service}.app")
    redis = connect("redis://127.0.0.1:1/0")
    app = module.create_app(Store(redis), load())
    paths = paths_of(app)
    await redis.aclose()
    assert paths
    strays = {path: routes.service_of(path) for path in paths if path not in routes.UNROUTED}
    assert {path: owner for path, owner in strays.items() if owner != service} == {}

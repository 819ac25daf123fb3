"""The composite app sends every path where the edge would."""

import contextlib
from types import SimpleNamespace
from typing import Any

import pytest

from services.composite import SERVICES, Composite
from shared import routes


class Recorder:
    """A service that notes when its lifespan begins and ends."""

    def __init__(self, name: str, journal: list[str]) -> None:
        self.name = name
        self.router = SimpleNamespace(lifespan_context=self.lifespan)
        self.protocol = f"the protocol of {name}"
        self.journal = journal

    def opened(self) -> None:
        self.journal.append(f"{self.name} is open")

    def closing(self) -> None:
        self.journal.append(f"{self.name} is closing")

    @contextlib.asynccontextmanager
    async def lifespan(self, _app: Any):
        self.journal.append(f"{self.name} begins")
        yield
        self.journal.append(f"{self.name} ends")

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.journal.append(f"{self.name} {scope['path']}")


@pytest.fixture
def journal() -> list[str]:
    return []


@pytest.fixture
def composite(journal: list[str]) -> Composite:
    services = {name: Recorder(name, journal) for name in SERVICES}
    return Composite(services, Recorder("health", journal))


def paths() -> list[str]:
    patterns = [pattern for row in routes.ROUTES.values() for pattern in row]
    inside = [pattern.replace("*", "some/thing") for pattern in patterns]
    near = [pattern.rstrip("/*") + "-not" for pattern in patterns]
    return [*inside, *near, "/", "/ui", "/api/monitors", "/status", "/badge/x", "/wsx", *routes.UNROUTED]


@pytest.mark.parametrize("path", paths())
async def test_it_agrees_with_the_table(composite: Composite, journal: list[str], path: str) -> None:
    """Each path goes to the service that shared.routes names; health and metrics to the group's own."""
    await composite({"type": "http", "path": path}, None, None)
    assert journal == [f"{routes.service_of(path) or 'health'} {path}"]


async def test_the_collector_has_its_protocol_and_is_told_of_the_start_and_the_end(
    composite: Composite, journal: list[str]
) -> None:
    """What heartbeats need of the server, and the words that all are heard from now on, and nobody any more."""
    assert composite.protocol == "the protocol of collector"
    composite.opened()
    composite.closing()
    assert journal == ["collector is open", "collector is closing"]


async def test_a_websocket_goes_to_webhooks(composite: Composite, journal: list[str]) -> None:
    """/ws is routed like any other path."""
    await composite({"type": "websocket", "path": "/ws"}, None, None)
    assert journal == ["webhooks /ws"]


async def test_every_service_lives_as_long_as_the_app(composite: Composite, journal: list[str]) -> None:
    """Lifespans begin before the first request and end, in the other order, after the last."""
    sent: list[str] = []

    async def receive() -> dict[str, str]:
        return {"type": "lifespan.shutdown" if sent else "lifespan.startup"}

    async def send(message: dict[str, str]) -> None:
        sent.append(message["type"])

    await composite({"type": "lifespan"}, receive, send)
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert journal == [f"{n} begins" for n in SERVICES] + [f"{n} ends" for n in reversed(SERVICES)]

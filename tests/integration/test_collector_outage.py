"""What every route of the collector answers while Redis is away."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from collecting import Collector, collecting, dumps, sign

from shared.connection import Store, connect

SECRET = "secret"
TOKEN = "728b3763-ea1e-4f4e-b0f5-0f0f4f4c4b4a"


@pytest.fixture
async def collector(tmp_path: Path) -> AsyncIterator[Collector]:
    """A collector whose Redis is not there."""
    redis = connect(f"unix://{tmp_path}/nowhere")
    async with collecting(Store(redis, 1), heartbeat_secret=SECRET, api_key=SECRET) as served:
        yield served
    await redis.aclose()


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", f"/api/heartbeat/{TOKEN}"),
        ("GET", f"/ping/{TOKEN}"),
        ("GET", f"/ping/{TOKEN}/fail"),
        ("GET", f"/ping/{TOKEN}/slug/fail?create=1"),
        ("GET", f"/api/push/{TOKEN}"),
        ("POST", "/api/v1/endpoints/a_b/external?success=true"),
        ("GET", f"/p/{TOKEN}/slug"),
        ("GET", "/api/status"),
        ("GET", "/api/fleet"),
        ("POST", "/events"),
        ("POST", "/api/ingest"),
    ],
)
async def test_every_route_asks_to_come_again(collector: Collector, method: str, path: str) -> None:
    """503 with `Retry-After`, never 404: clients give up on that."""
    body = b"" if "heartbeat" in path else b'{"type": "a.b", "payload": {}}'
    headers = {"Authorization": f"Bearer {TOKEN}"}
    answer = await collector.client.request(method, path, content=body, headers=headers)
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0
    assert "the store is not available; try again" in answer.text


async def test_signed_bodies_are_asked_to_come_again(collector: Collector) -> None:
    """The same for what is signed."""
    for path, body in [
        ("/heartbeat", dumps({"domain": "shop.example", "timestamp": 1})),
        ("/events", dumps({"type": "a.b", "payload": {}})),
    ]:
        headers = {"X-Pulse-Signature": sign(body, SECRET)}
        answer = await collector.client.post(path, content=body, headers=headers)
        assert (answer.status_code, "Retry-After" in answer.headers) == (503, True)

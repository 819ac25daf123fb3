"""The dialect of `/api/v1/endpoints/…/external`, as its clients speak it."""

import asyncio
import subprocess
from collections.abc import AsyncIterator

import pytest
from collecting import Collector, collecting

from services.collector.limits import ALLOWED
from shared.connection import Store

PATH = "/api/v1/endpoints/core_api-worker/external"


@pytest.fixture
async def collector(store: Store) -> AsyncIterator[Collector]:
    async with collecting(store) as served:
        yield served


@pytest.mark.parametrize(
    ("query", "status", "message"),
    [
        ("success=true", "alive", ""),
        ("success=true&error=&duration=10s", "alive", ""),
        ("success=true&error=ignored", "alive", ""),
        ("success=false&error=disk+full&duration=1m30.5s", "error", "disk full"),
        ("success=false&duration=-1.5h", "error", ""),
        ("success=false&duration=250%C2%B5s", "error", ""),
    ],
)
async def test_a_report_is_a_heartbeat(collector: Collector, query: str, status: str, message: str) -> None:
    """200 with an empty body; the error is the message."""
    monitor_id, token = await collector.monitor()
    headers = {"Authorization": f"Bearer {token}"}
    answer = await collector.client.post(f"{PATH}?{query}", headers=headers)
    assert (answer.status_code, answer.text) == (200, "")
    assert (await collector.read(monitor_id)).status == status
    assert (await collector.beats(monitor_id))[0][2] == message


async def test_what_is_refused_has_its_words(collector: Collector) -> None:
    """The statuses and texts that clients of this dialect know; nothing is recorded."""
    monitor_id, token = await collector.monitor()
    good = f"Bearer {token}"
    cases = [
        (PATH, good, 400, "missing or invalid success query parameter"),
        (f"{PATH}?success=yes", good, 400, "missing or invalid success query parameter"),
        (f"{PATH}?success=true&duration=10", good, 400, "invalid duration: write it like 250ms or 1m30s"),
        (f"{PATH}?success=true&duration=soon", good, 400, "invalid duration: write it like 250ms or 1m30s"),
        (f"{PATH}?success=true", "", 401, "invalid Authorization header"),
        (f"{PATH}?success=true", f"Basic {token}", 401, "invalid Authorization header"),
        (f"{PATH}?success=true", "Bearer", 401, "bearer token must not be empty"),
        (f"{PATH}?success=true", "Bearer nobody", 401, "invalid token"),
        ("/api/v1/endpoints/nounderscore/external?success=true", good, 404, "not found"),
        ("/api/v1/endpoints/a_b?success=true", good, 404, "not found"),
        ("/api/v1/endpoints/?success=true", good, 404, "not found"),
    ]
    for path, authorization, status, text in cases:
        headers = {"Authorization": authorization} if authorization else {}
        answer = await collector.client.post(path, headers=headers)
        assert (answer.status_code, answer.text) == (status, text), path
    answer = await collector.client.get(f"{PATH}?success=true", headers={"Authorization": good})
    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")
    assert await collector.beats(monitor_id) == []


async def test_too_many_unknown_tokens_are_limited(collector: Collector) -> None:
    """429 after a while."""
    headers = {"Authorization": "Bearer nobody"}
    for _ in range(ALLOWED):
        assert (await collector.client.post(f"{PATH}?success=true", headers=headers)).status_code == 401
    assert (await collector.client.post(f"{PATH}?success=true", headers=headers)).status_code == 429


async def test_the_shell_recipe_works_unchanged(collector: Collector) -> None:
    """The line of the other monitor's manual."""
    monitor_id, token = await collector.monitor()
    url = f"{collector.url}{PATH}?success=true&error=&duration=10s"
    command = ["curl", "-fsS", "-X", "POST", url, "-H", f"Authorization: Bearer {token}"]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=20)
    assert done.returncode == 0
    assert len(await collector.beats(monitor_id)) == 1

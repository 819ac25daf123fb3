"""The dialect of `/api/push/…`, as its clients speak it."""

import asyncio
import subprocess
from collections.abc import AsyncIterator

import apykuma
import pytest
from collecting import Collector, collecting
from waiting import wait_until

from services.collector.limits import ALLOWED
from shared import scripts
from shared.connection import Store

UNKNOWN = {"ok": False, "msg": "Monitor not found or not active."}


@pytest.fixture
async def collector(store: Store) -> AsyncIterator[Collector]:
    async with collecting(store) as served:
        yield served


@pytest.mark.parametrize(
    ("query", "status", "message"),
    [
        ("", "alive", ""),
        ("?status=up&msg=OK&ping=", "alive", "OK"),
        ("?status=up&msg=%D0%B6+a%26b&ping=12.5", "alive", "ж a&b"),
        ("?status=&msg=", "alive", ""),
        ("?status=down&msg=disk+full", "error", "disk full"),
        ("?status=UP", "error", ""),
        ("?status=pending", "error", ""),
        ("?msg=%FF", "alive", "\ufffd"),
        ("?status=up&status=down", "alive", ""),
    ],
)
async def test_a_push_is_a_heartbeat(collector: Collector, query: str, status: str, message: str) -> None:
    """`up` and a bare URL are ok, anything else is an error; the answer is exact."""
    monitor_id, token = await collector.monitor()
    answer = await collector.client.get(f"{collector.url}/api/push/{token}{query}")
    assert (answer.status_code, answer.text) == (200, '{"ok": true}')
    assert (await collector.read(monitor_id)).status == status
    assert (await collector.beats(monitor_id))[0][2] == message


@pytest.mark.parametrize("method", ["HEAD", "POST", "PUT"])
async def test_any_method_pushes(collector: Collector, method: str) -> None:
    """The method does not matter to these clients."""
    monitor_id, token = await collector.monitor()
    answer = await collector.client.request(method, f"/api/push/{token}?status=down")
    assert answer.status_code == 200
    assert (await collector.read(monitor_id)).status == "error"


@pytest.mark.parametrize("path", ["", "nobody", "ab", "a%20b", "%D0%B6", "nobody/more", "x" * 65])
async def test_an_unknown_token_is_not_found(collector: Collector, path: str) -> None:
    """404 with the words that these clients know."""
    answer = await collector.client.get(f"/api/push/{path}?status=up")
    assert (answer.status_code, answer.json()) == (404, UNKNOWN)


async def test_too_many_unknown_tokens_are_limited(collector: Collector) -> None:
    """429, not 404: clients give up on that."""
    for _ in range(ALLOWED):
        assert (await collector.client.get("/api/push/nobody")).status_code == 404
    answer = await collector.client.get("/api/push/nobody")
    assert answer.status_code == 429
    assert answer.headers["Retry-After"]
    assert answer.json()["ok"] is False


async def test_a_paused_monitor_answers_ok(collector: Collector) -> None:
    """Its clients must not think that it is gone."""
    monitor_id, token = await collector.monitor()
    await scripts.pause_monitor(collector.store, monitor_id, "pause")
    assert (await collector.client.get(f"/api/push/{token}")).json() == {"ok": True}


async def test_the_shell_recipe_works_unchanged(collector: Collector) -> None:
    """The line that people have in their crontabs."""
    monitor_id, token = await collector.monitor()
    command = ["curl", "-fsS", f"{collector.url}/api/push/{token}?status=up&msg=OK&ping="]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=20)
    assert (done.returncode, done.stdout) == (0, '{"ok": true}')
    assert await collector.beats(monitor_id) == [("ok", "", "OK")]


async def test_the_client_of_another_monitor_works_unchanged(collector: Collector) -> None:
    """Apykuma beats from the background."""
    monitor_id, token = await collector.monitor()
    beating = await apykuma.start(f"{collector.url}/api/push/{token}?status=up&msg=OK&ping=", interval=60)

    async def alive() -> bool:
        return (await collector.read(monitor_id)).status == "alive"

    await wait_until(alive, "apykuma's first push")
    beating.cancel()
    await asyncio.wait([beating])

"""`/api/heartbeat/…` as clients see it, over a real server."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx
import pytest
from serving import serving
from waiting import wait_until

from services.collector import listening
from services.collector.app import create_app
from shared import keys, monitors, scripts
from shared.connection import Store
from shared.monitors import NewMonitor
from shared.settings import load


@dataclass
class Collector:
    store: Store
    client: httpx.AsyncClient

    async def monitor(self, **settings: object) -> tuple[str, str]:
        """A monitor's id and token."""
        made, token = await monitors.create(self.store, NewMonitor(name="api-worker", **settings))  # type: ignore[arg-type]
        return made.id, token

    async def status(self, monitor_id: str) -> str:
        return (await monitors.get(self.store, monitor_id)).status


@pytest.fixture
async def collector(store: Store) -> AsyncIterator[Collector]:
    async with (
        serving(create_app(store, load())) as url,
        httpx.AsyncClient(base_url=url) as client,
    ):
        await wait_until(lambda: store.redis.exists(keys.ingest(0)), "the first stamp")
        yield Collector(store, client)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", "alive"),
        (b'{"status": "ok"}', "alive"),
        (b'{"status": "warning", "message": "slow"}', "warning"),
        (b'{"status": "error", "message": "disk full"}', "error"),
        (b'{"status": "ok", "message": null, "extra": [1]}', "alive"),
    ],
)
async def test_a_heartbeat_sets_the_status(collector: Collector, body: bytes, status: str) -> None:
    """ok, warning and error each set their status and the time; the answer is exact."""
    monitor_id, token = await collector.monitor()
    answer = await collector.client.post(f"/api/heartbeat/{token}", content=body)
    assert (answer.status_code, answer.text) == (200, '{"result": "ok"}')
    assert await collector.status(monitor_id) == status
    assert (await monitors.get(collector.store, monitor_id)).seen is not None


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_get_and_head_mean_ok(collector: Collector, method: str) -> None:
    """A browser or a simple pinger can beat."""
    monitor_id, token = await collector.monitor()
    assert (await collector.client.request(method, f"/api/heartbeat/{token}")).status_code == 200
    assert await collector.status(monitor_id) == "alive"


async def test_a_monitor_for_post_only_ignores_link_previews(collector: Collector) -> None:
    """GET is answered but changes nothing."""
    monitor_id, token = await collector.monitor(methods="post")
    assert (await collector.client.get(f"/api/heartbeat/{token}")).status_code == 200
    assert await collector.status(monitor_id) == "new"
    await collector.client.post(f"/api/heartbeat/{token}")
    assert await collector.status(monitor_id) == "alive"


@pytest.mark.parametrize(
    ("action", "status"),
    [("start", "new"), ("fail", "error"), ("log", "new"), ("0", "alive"), ("1", "error"), ("255", "error")],
)
async def test_actions_after_the_token(collector: Collector, action: str, status: str) -> None:
    """Start and log leave the status alone; fail and a non-zero exit status are errors."""
    monitor_id, token = await collector.monitor()
    assert (await collector.client.post(f"/api/heartbeat/{token}/{action}")).status_code == 200
    assert await collector.status(monitor_id) == status


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b"{", "JSON"),
        (b"[]", "object"),
        (b'"ok"', "object"),
        (b"{}", "status"),
        (b'{"status": "fine"}', "status"),
        (b'{"status": ["ok"]}', "status"),
        (b'{"status": null}', "status"),
        (b'{"status": "ok", "message": 1}', "message"),
        (b'{"status": "ok"}\xff', "JSON"),
        (b"[" * 100_000, "JSON"),
    ],
)
async def test_a_bad_body_is_422_with_a_sentence(collector: Collector, body: bytes, word: str) -> None:
    """Nothing is recorded, and the sentence names what is wrong."""
    monitor_id, token = await collector.monitor()
    answer = await collector.client.post(f"/api/heartbeat/{token}", content=body)
    assert answer.status_code == 422
    assert word in answer.json()["detail"]
    assert await collector.status(monitor_id) == "new"


@pytest.mark.parametrize("action", ["256", "-1", "stop", "1/2", "٣", "0000"])
async def test_an_unknown_action_is_404(collector: Collector, action: str) -> None:
    """Anything but start, fail, log and 0 to 255."""
    _, token = await collector.monitor()
    assert (await collector.client.post(f"/api/heartbeat/{token}/{action}")).status_code == 404


async def test_a_long_message_is_cut_and_a_huge_body_refused(collector: Collector) -> None:
    """10,000 bytes of the message are kept; only a body above 1 MiB is 413."""
    monitor_id, token = await collector.monitor()
    url = f"/api/heartbeat/{token}"
    report = json.dumps({"status": "error", "message": "é" * 400_000}, ensure_ascii=False).encode()
    assert (await collector.client.post(url, content=report)).status_code == 200
    newest = await collector.store.redis.lindex(keys.beats(0, monitor_id), 0)
    assert len(newest.split(" ", 3)[3].encode()) == 10_000
    assert (await collector.client.post(url, content=b" " * (1024 * 1024 + 1))).status_code == 413


@pytest.mark.parametrize("token", ["00000000-0000-4000-8000-000000000000", "x", "a" * 65, "ü", "%00", ""])
async def test_an_unknown_token_is_403(collector: Collector, token: str) -> None:
    """The same answer whatever is wrong with the token."""
    answer = await collector.client.post(f"/api/heartbeat/{token}")
    assert answer.status_code == 403
    assert "token" in answer.json()["detail"]


async def test_a_revoked_token_dies_at_once_although_it_is_cached(collector: Collector) -> None:
    """Rotation and deletion refuse the old token from the next request on."""
    monitor_id, token = await collector.monitor()
    assert (await collector.client.post(f"/api/heartbeat/{token}")).status_code == 200
    monitor = await monitors.get(collector.store, monitor_id)
    new_token = await monitors.rotate_token(collector.store, monitor)
    assert (await collector.client.post(f"/api/heartbeat/{token}")).status_code == 403
    assert (await collector.client.post(f"/api/heartbeat/{new_token}")).status_code == 200


async def test_many_unknown_tokens_from_one_address_are_429_but_known_ones_pass(collector: Collector) -> None:
    """Guessing is slowed; whoever has a token is never limited."""
    _, token = await collector.monitor()
    answers = [await collector.client.post(f"/api/heartbeat/nobody-{n}") for n in range(21)]
    assert [answer.status_code for answer in answers] == [403] * 20 + [429]
    assert answers[-1].headers["Retry-After"] == "60"
    assert (await collector.client.post(f"/api/heartbeat/{token}")).status_code == 200
    other = {"X-Forwarded-For": "203.0.113.9"}
    assert (await collector.client.post("/api/heartbeat/nobody", headers=other)).status_code == 403


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_other_methods_are_405(collector: Collector, method: str) -> None:
    """With the methods that are allowed."""
    _, token = await collector.monitor()
    answer = await collector.client.request(method, f"/api/heartbeat/{token}")
    assert answer.status_code == 405
    assert "POST" in answer.headers["Allow"]


async def test_64_concurrent_beats_cause_at_most_4_script_calls(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted by the server: what is gathered in a loop turn goes as one call.

    Bare connections, because a client library sends one request after another.
    """
    base = collector.client.base_url
    connections = []
    for _ in range(64):
        _, token = await collector.monitor()
        await collector.client.post(f"/api/heartbeat/{token}")
        connections.append((token, *await asyncio.open_connection(base.host, base.port)))
    monkeypatch.setattr(listening, "STAMP_EVERY", 60.0)
    stamped = await collector.store.redis.get(keys.ingest(0))
    await wait_until(lambda: newer(collector.store, stamped), "the last stamp for a minute")
    before = await script_calls(collector.store)
    for token, _, writer in connections:
        writer.write(f"POST /api/heartbeat/{token} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".encode())
    for _, reader, writer in connections:
        assert b" 200 " in await reader.readline()
        writer.close()
    assert await script_calls(collector.store) - before <= 4


async def newer(store: Store, stamped: str) -> bool:
    return bool(await store.redis.get(keys.ingest(0)) != stamped)


async def script_calls(store: Store) -> int:
    stats = await store.redis.info("commandstats")
    return sum(stats.get(f"cmdstat_{name}", {}).get("calls", 0) for name in ("evalsha", "eval"))


async def test_a_run_id_pairs_a_start_with_its_end(collector: Collector) -> None:
    """The duration is kept only when the ids match."""
    monitor_id, token = await collector.monitor()
    for start, end, kept in (("a", "a", True), ("a", "b", False)):
        await collector.client.post(f"/api/heartbeat/{token}/start?rid={start}")
        await collector.client.post(f"/api/heartbeat/{token}?rid={end}")
        newest = await collector.store.redis.lindex(keys.beats(0, monitor_id), 0)
        assert bool(newest.split(" ", 3)[2]) is kept


async def test_a_broken_record_is_500_and_harms_nobody_else(collector: Collector) -> None:
    """Its neighbours in the batch are recorded."""
    broken, broken_token = await collector.monitor()
    _, token = await collector.monitor()
    for one in (broken_token, token):
        await collector.client.post(f"/api/heartbeat/{one}")
    await collector.store.redis.delete(keys.beats(0, broken))
    await collector.store.redis.set(keys.beats(0, broken), "no list")
    both = [collector.client.post(f"/api/heartbeat/{one}") for one in (broken_token, token)]
    assert [answer.status_code for answer in await asyncio.gather(*both)] == [500, 200]


async def test_what_the_script_answers_is_a_closed_set(collector: Collector) -> None:
    """RECORDED and CHANGED are success; everything else is not above zero."""
    assert min(scripts.RECORDED, scripts.CHANGED) > 0
    assert max(scripts.IGNORED, scripts.UNKNOWN_TOKEN, scripts.BROKEN) <= 0


@pytest.mark.parametrize("setting", ["maxmemory", "min-replicas-to-write"])
async def test_a_store_that_refuses_writes_is_503_and_nobody_is_called_damaged(
    collector: Collector, capsys: pytest.CaptureFixture[str], setting: str
) -> None:
    """Full memory, or a missing replica, is no record's fault: clients are asked to come again, nothing is recorded."""
    new_id, new_token = await collector.monitor()
    well_id, well_token = await collector.monitor()
    await collector.client.post(f"/api/heartbeat/{well_token}")
    before = await monitors.get(collector.store, well_id)
    await asyncio.sleep(0.002)
    redis = collector.store.redis
    await redis.config_set(setting, 1)
    try:
        for token in (new_token, well_token):
            answer = await collector.client.post(f"/api/heartbeat/{token}")
            assert (answer.status_code, "Retry-After" in answer.headers) == (503, True)
    finally:
        await redis.config_set(setting, 0)
    assert await collector.status(new_id) == "new"
    assert (await monitors.get(collector.store, well_id)).seen == before.seen
    assert "damaged" not in capsys.readouterr().out
    for token in (new_token, well_token):
        assert (await collector.client.post(f"/api/heartbeat/{token}")).status_code == 200
    assert await collector.status(new_id) == "alive"
    assert ((await monitors.get(collector.store, well_id)).seen or 0) > (before.seen or 0)

"""`GET /api/status` as dashboards see it."""

import itertools
import json
import time
from collections.abc import AsyncIterator

import pytest
from collecting import Collector, collecting
from fastapi.responses import StreamingResponse
from waiting import turns

from services.collector import status
from shared import keys, monitors, scripts
from shared.connection import Store
from shared.events import iso


@pytest.fixture
async def collector(store: Store) -> AsyncIterator[Collector]:
    async with collecting(store) as served:
        yield served


FILL = """
for n = tonumber(ARGV[1]), tonumber(ARGV[2]) do
  local id = string.format('m%08d', n)
  redis.call('HSET', ARGV[3] .. id, 'name', 'service ' .. n, 'status', 'alive', 'seen', 1760616000000 + n)
  redis.call('ZADD', KEYS[1], 'inf', id)
end
"""


async def fill(store: Store, count: int) -> None:
    """Many monitors, written past the scripts for speed."""
    for start in range(0, count, 10_000):
        last = min(start + 10_000, count) - 1
        await store.redis.eval(FILL, 1, keys.deadlines(0), start, last, keys.monitor(0, ""))


async def test_every_monitor_is_listed_with_its_status(collector: Collector) -> None:
    """Exactly name, status and last_seen; null when never seen; reads see acknowledged writes."""
    assert (await collector.client.get("/api/status")).json() == []
    quiet, _ = await collector.monitor("сервис-я")
    first, token = await collector.monitor("service-a")
    await collector.client.post(f"/api/heartbeat/{token}", json={"status": "warning"})
    seen = (await collector.read(first)).seen
    answer = await collector.client.get("/api/status")
    assert answer.headers["content-type"] == "application/json"
    # Oldest first, but these two may be of one millisecond.
    assert sorted(answer.json(), key=lambda row: row["status"]) == [
        {"name": "сервис-я", "status": "new", "last_seen": None},
        {"name": "service-a", "status": "warning", "last_seen": iso(seen)},
    ]
    await scripts.pause_monitor(collector.store, first, "pause")
    await monitors.delete(collector.store, await collector.read(quiet))
    assert [row["status"] for row in (await collector.client.get("/api/status")).json()] == ["paused"]


async def test_all_pages_make_one_list(collector: Collector) -> None:
    """More monitors than a page holds; limit and offset cut the same order."""
    await fill(collector.store, 1_203)
    every = (await collector.client.get("/api/status")).json()
    assert [row["name"] for row in every] == [f"service {number}" for number in range(1_203)]
    cuts = [(0, 10), (1_200, 10), (5_000, 10), (490, 600), (0, 2_000), (3, None)]
    for offset, limit in cuts:
        params = {"offset": offset} | ({} if limit is None else {"limit": limit})
        rows = (await collector.client.get("/api/status", params=params)).json()
        assert rows == every[offset : None if limit is None else offset + limit]


async def test_a_monitor_that_vanishes_between_pages_breaks_nothing(collector: Collector) -> None:
    """Whole pages of ids without a monitor are left out, commas too."""
    await fill(collector.store, 1_600)
    for numbers in (range(500), range(1_000, 1_500)):
        await collector.store.redis.delete(*(keys.monitor(0, f"m{number:08}") for number in numbers))
    rows = (await collector.client.get("/api/status")).json()
    assert [row["name"] for row in rows] == [
        f"service {n}" for n in (*range(500, 1_000), *range(1_500, 1_600))
    ]


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=-1", "limit=x", "offset=-1", "limit=1e3", "offset=99999999999"]
)
async def test_a_bad_cut_is_refused(collector: Collector, query: str) -> None:
    """422 with the parameter named."""
    answer = await collector.client.get(f"/api/status?{query}")
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith(query.partition("=")[0])


async def test_the_list_can_be_closed(store: Store) -> None:
    """`PULSE_PUBLIC_STATUS=false` asks for a token with `read`."""
    async with collecting(store, public_status=False) as served:
        assert (await served.client.get("/api/status")).status_code == 401
        headers = {"Authorization": f"Bearer {await served.token('ingest')}"}
        assert (await served.client.get("/api/status", headers=headers)).status_code == 403
        headers = {"Authorization": f"Bearer {await served.token('read')}"}
        assert (await served.client.get("/api/status", headers=headers)).json() == []


async def test_ten_thousand_are_listed_in_300_ms(collector: Collector) -> None:
    """The best of five, client included."""
    await fill(collector.store, 10_000)
    took = []
    for _ in range(5):
        start = time.perf_counter()
        answer = await collector.client.get("/api/status")
        took.append(time.perf_counter() - start)
        assert answer.content.count(b'"last_seen"') == 10_000
    assert min(took) < 0.3, took


async def test_others_have_a_turn_between_pages_of_ids(store: Store) -> None:
    """Putting them in order takes tens of ms for a hundred thousand."""
    await fill(store, 5_000)
    async with turns() as others:
        pages = [(others.count, page) async for page in monitors.id_pages(store)]
    assert [one for _, page in pages for one in page] == [f"m{n:08}" for n in range(5_000)]
    assert all(later > before for (before, _), (later, _) in itertools.pairwise(pages))


async def test_heartbeats_go_on_while_a_hundred_thousand_are_listed(store: Store) -> None:
    """Whoever else is ready has a turn for each thousand ids that are read and between the pages that are written."""
    await fill(store, 100_000)
    async with turns() as others:
        answer = await status.status(store)
        assert isinstance(answer, StreamingResponse)
        assert others.count >= 100_000 / 1_000
        pages = [(others.count, page) async for page in answer.body_iterator]
    *rows, end = [bytes(page).count(b'"last_seen"') for _, page in pages]
    assert (rows, end) == ([status.PAGE] * (100_000 // status.PAGE), 0)
    assert len(json.loads(b"".join(bytes(page) for _, page in pages))) == 100_000
    assert all(later > before for (before, _), (later, _) in itertools.pairwise(pages[:-1]))

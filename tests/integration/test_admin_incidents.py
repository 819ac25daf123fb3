"""The admin's view of the past: heartbeats, incidents with their timeline, uptime."""

import httpx
import pytest
from admin_api import admin_client

from services.admin import past
from shared import claims, deliveries, keys, monitors, orders, scripts
from shared.connection import Store
from shared.deliveries import NewDelivery
from shared.monitors import NewMonitor
from shared.retry import Outcome


@pytest.fixture
async def api(store: Store):
    async with admin_client(store) as client:
        yield client


async def make(store: Store, name: str = "api-worker", **settings) -> scripts.MonitorKeys:
    monitor, _ = await monitors.create(store, NewMonitor(name=name, **settings))
    return scripts.monitor_keys(store, monitor.id, monitor.token_hash)


async def beat(
    store: Store, target: scripts.MonitorKeys, kind: scripts.Kind = "ok", message: str = "", rid: str = ""
):
    await scripts.beat(store.redis, target.shard, [scripts.Beat(target, kind, message=message, rid=rid)])


async def read(api: httpx.AsyncClient, path: str) -> dict:
    answer = await api.get(path)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_the_newest_heartbeats_are_listed_with_what_they_said(api: httpx.AsyncClient, store: Store):
    """Newest first, status, message and the duration of a run; at most 100."""
    target = await make(store)
    for kind, message in (
        ("ok", ""),
        ("start", ""),
        ("ok", "done  it\nwell"),
        ("error", "5 broke"),
        ("log", "x"),
    ):
        await beat(store, target, kind, message)
    page = await read(api, f"/api/monitors/{target.monitor_id}/heartbeats")
    assert [(item["kind"], item["status"], item["message"]) for item in page["items"]] == [
        ("log", None, "x"),
        ("error", "error", "5 broke"),
        ("ok", "alive", "done  it\nwell"),
        ("start", None, None),
        ("ok", "alive", None),
    ]
    assert page["items"][2]["duration"] >= 0
    assert page["items"][0]["duration"] is None
    assert page["items"][0]["at"].endswith("Z")
    for _ in range(120):
        await beat(store, target)
    page = await read(api, f"/api/monitors/{target.monitor_id}/heartbeats?limit=30&offset=90")
    assert (page["total"], len(page["items"])) == (100, 10)


async def test_incidents_are_listed_newest_first_open_or_closed(api: httpx.AsyncClient, store: Store):
    """All, of one monitor, or only those that are open or closed."""
    first, second = await make(store, "first"), await make(store, "second")
    for target in (first, second, first):
        await beat(store, target, "error", "no")
        if target is not second:
            await beat(store, target)
    page = await read(api, "/api/incidents")
    assert (page["total"], {item["monitor"]["name"] for item in page["items"]}) == (3, {"first", "second"})
    opened = [item["opened_at"] for item in page["items"]]
    assert opened == sorted(opened, reverse=True)
    still_open = await read(api, "/api/incidents?open=true")
    assert [item["monitor"]["name"] for item in still_open["items"]] == ["second"]
    assert still_open["items"][0]["closed_at"] is None
    closed = await read(api, "/api/incidents?open=false&limit=1&offset=1")
    assert (closed["total"], [item["monitor"]["name"] for item in closed["items"]]) == (2, ["first"])
    own = await read(api, f"/api/monitors/{first.monitor_id}/incidents")
    assert own["total"] == 2
    assert own["items"][0]["status"] == "error"
    assert own["items"][0]["reason"] == "heartbeat"
    assert own["items"][0]["duration"] >= 0


async def test_incidents_of_several_shards_are_merged(store: Store):
    """Newest first across shards, each page a part of the whole."""
    sharded = Store(store.redis, 4)
    targets = [await make(sharded, f"worker {number}") for number in range(8)]
    for target in targets:
        await beat(sharded, target, "error", "no")
    async with admin_client(sharded) as api:
        whole = (await read(api, "/api/incidents"))["items"]
        parts = [(await read(api, f"/api/incidents?limit=3&offset={at}"))["items"] for at in (0, 3, 6)]
        listed = await read(api, "/api/monitors?status=error&limit=5")
    assert len({item["id"] for item in whole}) == 8
    assert [item["id"] for part in parts for item in part] == [item["id"] for item in whole]
    assert (listed["total"], len(listed["items"])) == (8, 5)


async def test_an_incident_tells_its_timeline(api: httpx.AsyncClient, store: Store):
    """The heartbeats before and during it, the transition, the recovery, oldest first."""
    target = await make(store)
    for number in range(8):
        await beat(store, target, "ok", f"fine {number}")
    await beat(store, target, "error", "disk full")
    open_page = await read(api, "/api/incidents?open=true")
    detail = await read(api, f"/api/incidents/{open_page['items'][0]['id']}")
    assert detail["monitor"]["status"] == "error"
    assert detail["timeline"][-1]["kind"] == "transition"
    await beat(store, target, "ok", "fine again")
    detail = await read(api, f"/api/incidents/{open_page['items'][0]['id']}")
    told = [(entry["kind"], entry["status"], entry["message"]) for entry in detail["timeline"]]
    assert ("heartbeat", "error", "disk full") in told
    assert told[-1][0] == "recovery"
    assert told.index(("heartbeat", "error", "disk full")) < told.index(("transition", "error", None))
    times = [entry["at"] for entry in detail["timeline"]]
    assert times == sorted(times)


async def test_an_error_that_falls_silent_shows_both_transitions(api: httpx.AsyncClient, store: Store):
    """An error → dead stays one incident; its timeline has both."""
    target = await make(store, timeout=1_000)
    await beat(store, target, "error", "no")
    await die(store, target.monitor_id)
    (incident,) = (await read(api, "/api/incidents?open=true"))["items"]
    for closed in (False, True):
        detail = await read(api, f"/api/incidents/{incident['id']}")
        entries = [entry for entry in detail["timeline"] if entry["kind"] == "transition"]
        assert [(one["status"], one["reason"]) for one in entries] == [
            ("error", "heartbeat"),
            ("dead", None),
        ]
        told = [detail[name] for name in ("status", "worst_status", "last_status", "reason")]
        assert told == ["error", "dead", "dead", "heartbeat"]
        assert (detail["closed_at"] is not None) == closed
        await beat(store, target)


async def test_an_incident_knows_its_worst_and_its_last_status(api: httpx.AsyncClient, store: Store):
    """Through error, death, error again and recovery; one that never changed says one thing three times."""
    plain, target = await make(store, "plain", timeout=1_000), await make(store, timeout=1_000)
    for number in range(2):
        await beat(store, target, "error", f"no {number}")
        if not number:
            await die(store, target.monitor_id)
    await beat(store, target, "warning")
    await beat(store, plain)
    await die(store, plain.monitor_id)
    found = {one["monitor"]["name"]: one for one in (await read(api, "/api/incidents"))["items"]}
    names = ("status", "worst_status", "last_status", "reason")
    assert [found["api-worker"][name] for name in names] == ["error", "dead", "error", "heartbeat"]
    assert [found["plain"][name] for name in names] == ["dead", "dead", "dead", "silence"]


async def die(store: Store, monitor_id: str) -> None:
    """Declares a monitor dead, as if its deadline had passed."""
    now, _ = await store.redis.time()
    await scripts.stamp(store.redis, 0, None)
    await store.redis.zadd(keys.deadlines(0), {monitor_id: (now - 1) * 1000})
    _, lags = await scripts.declare(store.redis, 0, {monitor_id: ""})
    assert lags[0] >= 0


async def test_unknown_incidents_are_404(api: httpx.AsyncClient, store: Store):
    """Whatever the id looks like; also when its monitor is gone."""
    for wrong in ("x", "a.b", "a.1", "%00.1", "a." + "9" * 400, "..", "é.1"):
        answer = await api.get(f"/api/incidents/{wrong}")
        assert answer.status_code == 404, wrong
    target = await make(store)
    await beat(store, target, "error")
    (incident,) = (await read(api, "/api/incidents"))["items"]
    await scripts.delete_monitor(store, target.monitor_id)
    assert (await api.get(f"/api/incidents/{incident['id']}")).status_code == 404
    assert (await read(api, "/api/incidents"))["total"] == 0


async def test_uptime_comes_from_rollup_incidents_and_the_present_status(
    api: httpx.AsyncClient, store: Store
):
    """Percent per period, and a grid of days with the seconds in each status."""
    target = await make(store)
    path = f"/api/monitors/{target.monitor_id}/uptime"
    fresh = await read(api, path)
    assert {period["uptime"] for period in fresh["periods"].values()} == {None}
    assert (len(fresh["days"]), fresh["days"][-1]["uptime"]) == (90, None)
    await beat(store, target)
    seconds, _ = await store.redis.time()
    await store.redis.hset(keys.monitor(0, target.monitor_id), "since", str((seconds - 60) * 1000))
    day = seconds // 86_400
    history = {f"{day - 3}:alive": 64_800_000, f"{day - 3}:dead": 21_600_000, f"{day - 50}:paused": 1_000}
    await store.redis.hset(keys.history(0, target.monitor_id), mapping=history)
    told = await read(api, f"{path}?days=60")
    assert told["periods"]["24h"]["uptime"] == 100
    assert 75 <= told["periods"]["7d"]["uptime"] < 76
    assert told["periods"]["7d"]["down"] == 21_600
    assert len(told["days"]) == 60
    assert told["days"][-4]["uptime"] == 75
    assert told["days"][-4]["statuses"] == {"alive": 64_800, "dead": 21_600}
    assert told["days"][-51]["statuses"] == {"paused": 1}
    assert told["days"][-51]["uptime"] is None


async def test_a_timeline_has_every_message_and_attempt(api: httpx.AsyncClient, store: Store):
    """What was asked for, each try with its answer, in the order in which it happened, also across shards."""
    sharded = Store(store.redis, 3)
    target = await make(sharded)
    await beat(sharded, target, "error", "no")
    async with admin_client(sharded) as client:
        made = {"name": "On call", "type": "webhook", "config": {"url": "https://hooks.example/"}}
        channel = (await client.post("/api/channels", json=made)).json()["id"]
        (incident,) = (await read(client, "/api/incidents"))["items"]
        goals = (f"channel:{channel}", "webhook:7")
        items = [NewDelivery(goal, "e1", "monitor.error", "{}", 1, incident=incident["id"]) for goal in goals]
        await deliveries.create(sharded, items)
        (claimed,) = await claims.claim(sharded, "w1", [orders.Want(goals[0])])
        (first,) = claimed.deliveries
        now = await past.now(store)
        retry = claims.Result(first, "w1", "retry", 0, outcome=Outcome(503, "busy", "status 503"), at=now)
        await claims.record(sharded, [retry])
        (claimed,) = await claims.claim(sharded, "w1", [orders.Want(goals[0])])
        done = claims.Result(claimed.deliveries[0], "w1", "success", outcome=Outcome(200, "ok"), at=now + 1)
        await claims.record(sharded, [done])
        entries = (await read(client, f"/api/incidents/{incident['id']}"))["timeline"]
        told = [entry for entry in entries if entry["target"] == goals[0]]
        assert [(entry["kind"], entry["status"], entry["response_status"]) for entry in told] == [
            ("delivery", "success", None),
            ("attempt", "failed", 503),
            ("attempt", "success", 200),
        ]
        assert {entry["target_name"] for entry in told} == {"On call"}
        assert [entry["status"] for entry in entries if entry["target"] == goals[1]] == ["pending"]

"""The outside hears that all is well when, and only when, a synthetic monitor went all the way; nobody else sees it."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from admin_api import admin_client
from doubles.receiver import Receiver
from live_client import listen, live_app, said
from prometheus_client import REGISTRY
from servers import Server
from serving import serving
from waiting import wait_until
from webhooks_api import emit, make, webhooks_client, working

from services.collector.app import create_app as create_collector
from services.notifier import service as notifier
from services.notifier.self_ping import SelfPing
from services.watchdog import expiry
from services.watchdog import service as watchdog
from shared import channels, channels_store, delivery_history, keys, monitors, scripts, synthetic
from shared.channels import Channel
from shared.connection import Store
from shared.deliveries import Delivery
from shared.events import iso
from shared.monitors import NewMonitor
from shared.outbound import Sender
from shared.secrets import load_key
from shared.settings import Settings, load
from shared.targets import ANYWHERE

INTERVAL = 3
"""Seconds: the shortest that is allowed."""


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    load_key("", tmp_path / "key", create=True)
    return tmp_path / "key"


@asynccontextmanager
async def everything(
    store: Store, server: Server, key_file: Path, outside: str, notifiers: int = 1
) -> AsyncIterator[None]:
    """Collector, watchdog and notifiers, as the processes run them."""
    stop = asyncio.Event()
    async with serving(create_collector(store, load(redis_url=server.url))) as collector:
        settings = load(
            redis_url=server.url,
            secret_key_file=str(key_file),
            allow_private_targets="127.0.0.0/8",
            collector_url=collector,
            self_ping_url=outside,
            self_ping_interval=INTERVAL,
        )
        tasks = [asyncio.create_task(notifier.run(store, settings, stop)) for _ in range(notifiers)]
        tasks.append(asyncio.create_task(watchdog.run(store, settings, stop)))
        try:
            yield
        finally:
            stop.set()
            await asyncio.gather(*tasks)


def counted(result: str) -> float:
    return REGISTRY.get_sample_value("mishpulse_self_pings_total", {"result": result}) or 0.0


async def beats(store: Store) -> int:
    return int(await store.redis.llen(keys.beats(0, synthetic.MONITOR)))  # type: ignore[misc]


async def test_the_outside_is_told_once_a_round(store: Store, server: Server, key_file: Path) -> None:
    """By GET, every interval, though two notifiers take part; the delivery says how the round ended."""
    async with (
        Receiver() as outside,
        everything(store, server, key_file, f"{outside.url}/hc-1234", notifiers=2),
    ):
        told = outside.journal.received
        await wait_until(lambda: len(told) >= 3, "three rounds", timeout=4 * INTERVAL)
        assert await beats(store) in (3, 4)
    assert {(one["method"], one["path"]) for one in told} == {("GET", "/hc-1234")}
    assert all(later["at"] - earlier["at"] > INTERVAL - 1 for earlier, later in pairwise(told))
    found = await delivery_history.listing(store, synthetic.TARGET, status="success")
    assert {one.response_body for one in found.items} == {"The outside was told."}
    assert REGISTRY.get_sample_value("mishpulse_last_self_ping_timestamp_seconds") == pytest.approx(
        time.time(), abs=2 * INTERVAL
    )


async def test_nobody_else_sees_it(store: Store, server: Server, key_file: Path) -> None:
    """Not the lists, counts, incidents and status; not a channel, webhook or live client that wants everything."""
    async with AsyncExitStack() as stack:
        outside, people, machine = [await stack.enter_async_context(Receiver()) for _ in range(3)]
        box = load_key("", key_file)

        def curious(channel_id: int, now: int) -> Channel:
            config = channels.validate("webhook", {"url": people.url})
            sealed = channels.seal("webhook", config, channel_id, box)
            return Channel(channel_id, "curious", "webhook", sealed, ("*",), created_at=now)

        await channels_store.add(store, curious)
        live, _ = await stack.enter_async_context(live_app(store))
        client = await stack.enter_async_context(listen(live))
        webhooks = await stack.enter_async_context(webhooks_client(store))
        hook = await make(webhooks, machine.url, event_type="*")
        await stack.enter_async_context(working(store))
        await stack.enter_async_context(everything(store, server, key_file, outside.url))
        await wait_until(lambda: len(outside.journal.received) >= 2, "two rounds", timeout=4 * INTERVAL)

        await emit(store, "theirs", "order.paid")
        await wait_until(lambda: people.journal.received and machine.journal.received, "what is for them")
        assert (await said(client))["id"] == "theirs"
        pulled = (await webhooks.get(f"/webhooks/{hook['id']}/events")).json()["items"]
        assert [one["id"] for one in pulled] == ["theirs"]
        admin = await stack.enter_async_context(admin_client(store))
        assert (await admin.get("/api/monitors")).json()["total"] == 0
        assert (await admin.get(f"/api/monitors/{synthetic.MONITOR}")).status_code == 404
        assert (await admin.delete(f"/api/monitors/{synthetic.MONITOR}")).status_code == 404
        assert (await admin.get("/api/incidents")).json()["total"] == 0
        system = (await admin.get("/api/system")).json()
        assert (system["monitors"], system["deliveries"]["dead_letters"]) == (0, 0)
        assert (await admin.get("/api/channels")).json()["total"] == 1
    assert [len(one.journal.received) for one in (people, machine)] == [1, 1]


async def test_with_several_shards_too(store: Store, server: Server, key_file: Path) -> None:
    """The round goes through one of them, its delivery through another; the sweep of each has a gauge of its own."""
    began = time.time()
    many = Store(store.redis, 4)
    async with Receiver() as outside, everything(many, server, key_file, outside.url):
        await wait_until(lambda: outside.journal.received, "a round", timeout=3 * INTERVAL)
        assert await monitors.all_ids(many) == []
        assert await monitors.count(many) == 0
    name = "mishpulse_last_sweep_timestamp_seconds"
    assert all((REGISTRY.get_sample_value(name, {"shard": str(one)}) or 0) >= began for one in range(4))


async def test_without_a_url_nothing_happens(store: Store, server: Server, key_file: Path) -> None:
    """No monitor, no round, no request."""
    async with everything(store, server, key_file, ""):
        await asyncio.sleep(0.5)
    assert await store.redis.keys("*self*") == []
    assert await store.redis.zcard(keys.deadlines(0)) == 0


async def test_transitions_of_people_are_counted_alone(store: Store, server: Server, key_file: Path) -> None:
    """A round is neither a death nor a recovery in the metrics; its detection lag is one."""

    def deaths() -> float:
        return REGISTRY.get_sample_value("mishpulse_transitions_total", {"status": "dead"}) or 0.0

    def lags() -> float:
        return REGISTRY.get_sample_value("mishpulse_detection_lag_seconds_count") or 0.0

    before, measured = deaths(), lags()
    async with Receiver() as outside, everything(store, server, key_file, outside.url):
        await wait_until(lambda: outside.journal.received, "a round", timeout=2 * INTERVAL)
    assert (deaths(), lags()) == (before, measured + 1)


async def test_only_the_sweep_declares_it_dead(store: Store) -> None:
    """An expiry event finds anybody's monitor and passes over this one: a stopped sweep must not stay unnoticed."""
    stop = asyncio.Event()
    listening = asyncio.create_task(expiry.listen(store, stop))
    await wait_until(lambda: store.redis.pubsub_numpat(), "the listener")
    stamping = asyncio.create_task(keep_stamping(store))
    for monitor_id in (synthetic.MONITOR, "anybody"):
        await monitors.write(store, monitor_id, "hash", NewMonitor(monitor_id, timeout=300, slug=""))
        target = scripts.monitor_keys(store, monitor_id, "hash")
        await scripts.beat(store.redis, 0, [scripts.Beat(target, "ok")])
    await wait_until(lambda: died(store, "anybody"), "the other's death")
    await asyncio.sleep(0.2)
    assert not await died(store, synthetic.MONITOR)
    stamping.cancel()
    stop.set()
    await listening


async def keep_stamping(store: Store) -> None:
    """What a collector does all the while."""
    while True:
        await scripts.stamp(store.redis, 0, None)
        await asyncio.sleep(0.05)


async def died(store: Store, monitor_id: str) -> bool:
    (monitor,) = await monitors.get_many(store, [monitor_id])
    return monitor.status == "dead"


@asynccontextmanager
async def rounds(store: Store, url: str, **changes: object) -> AsyncIterator[SelfPing]:
    """One notifier's rounds, without the notifier."""
    settings: Settings = load(
        self_ping_url=url, allow_private_targets="127.0.0.0/8", self_ping_interval=INTERVAL, **changes
    )
    async with Sender(settings.allow_private_targets) as sender:
        yield SelfPing(store, settings, sender)


async def death(store: Store, ago: float) -> Delivery:
    """The delivery of a round whose heartbeat came `ago` seconds ago."""
    seconds, micros = await store.redis.time()
    now = seconds * 1000 + micros // 1000
    payload = json.dumps({"last_seen": iso(now - round(ago * 1000))})
    return Delivery(
        synthetic.TARGET, 1, 1, "mp.self-ping.3", "monitor.dead", payload, now, now, 0, 1, "", "{}", now
    )


async def test_a_round_that_took_too_long_is_not_told(store: Store) -> None:
    """Half an interval is allowed; the delivery is over all the same."""
    late = counted("late")
    async with Receiver() as outside, rounds(store, outside.url) as ours:
        outcome = await ours.arrived([await death(store, 2.0)])
        assert outcome.ok
        assert "Late: 2.0 s" in outcome.body
        assert counted("late") == late + 1
        assert outside.journal.received == []


async def test_the_newest_of_several_rounds_counts(store: Store) -> None:
    """After a pause of the worker several come as one digest, the later of them without payloads."""
    old, new = await death(store, 100), await death(store, 0.5)
    async with Receiver() as outside, rounds(store, outside.url) as ours:
        outcome = await ours.arrived([old, new, replace(new, payload="")])
        assert outcome.body == "The outside was told."
        assert len(outside.journal.received) == 1


async def test_a_hiccup_of_the_outside_is_asked_again(store: Store) -> None:
    """While the round has time."""
    async with Receiver() as outside, rounds(store, outside.url) as ours:
        outside.answers.append((503, "busy", {}))
        outcome = await ours.arrived([await death(store, 0.1)])
        assert outcome.body == "The outside was told."
        assert len(outside.journal.received) == 2


@pytest.mark.parametrize(
    ("path", "why"),
    [("status/500", "answered 500"), ("redirect?to=/", "answered 302"), ("hang", "no answer")],
)
async def test_an_outside_that_does_not_take_it_was_not_told(store: Store, path: str, why: str) -> None:
    """The round ends in time, is counted, and leaves no dead letter: the outside raises the alarm."""
    untold, began = counted("untold"), time.monotonic()
    async with Receiver() as outside, rounds(store, f"{outside.url}/{path}") as ours:
        outcome = await ours.arrived([await death(store, 0.5)])
    assert outcome.ok
    assert why in outcome.body
    assert counted("untold") == untold + 1
    assert time.monotonic() - began < INTERVAL


async def test_a_private_outside_must_be_permitted(store: Store) -> None:
    """The request goes out like every other: to checked addresses only."""
    async with Receiver() as outside, Sender() as sender:
        settings = load(self_ping_url=outside.url, self_ping_interval=INTERVAL)
        outcome = await SelfPing(store, settings, sender).arrived([await death(store, 0.1)])
        assert "PULSE_ALLOW_PRIVATE_TARGETS" in outcome.body
        assert outside.journal.received == []


async def test_a_collector_that_refuses_is_asked_again_soon(store: Store) -> None:
    """A restart of the collector costs seconds, not a round."""
    refused = counted("refused")
    async with (
        Receiver() as collector,
        rounds(store, "http://127.0.0.1:1/", collector_url=collector.url) as ours,
    ):
        collector.answers = [(503, "", {}), (502, "", {})]
        task = asyncio.create_task(ours.keep_beginning())
        await wait_until(
            lambda: len(collector.journal.received) == 3, "the third try", timeout=INTERVAL - 0.5
        )
        task.cancel()
    assert counted("refused") == refused + 2


async def test_its_monitor_is_put_right_each_time(store: Store) -> None:
    """A monitor that somebody paused, another notifier's token, another interval: the next round sets it right."""
    async with (
        serving(create_collector(store, load())) as collector,
        rounds(store, "http://127.0.0.1:1/", collector_url=collector) as ours,
        rounds(store, "http://127.0.0.1:1/", collector_url=collector) as theirs,
        Sender(ANYWHERE) as inside,
    ):
        for one in (ours, theirs, ours):
            await scripts.pause_monitor(store, synthetic.MONITOR, "pause")
            await scripts.update_monitor(store, synthetic.MONITOR, {"timeout": "86400000"})
            await store.redis.delete(keys.SELF_PING_TURN)
            await one._begin(inside)
            (monitor,) = await monitors.get_many(store, [synthetic.MONITOR])
            assert (monitor.status, monitor.timeout, monitor.channels) == ("alive", 500, "0")
    assert await beats(store) == 3

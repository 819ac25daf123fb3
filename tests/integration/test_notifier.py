"""Events become messages: routed, written down, sent, retried, digested."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from doubles.receiver import Receiver
from doubles.telegram import BotApi
from servers import Server
from waiting import wait_until
from waking import lost, never

from services.notifier import service
from shared import (
    channels,
    channels_store,
    deliveries,
    delivery_history,
    keys,
    monitors,
    queue,
    scheduler,
    scripts,
)
from shared.channels import Channel
from shared.connection import Store
from shared.monitors import NewMonitor
from shared.secrets import load_key
from shared.settings import load


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    load_key("", tmp_path / "key", create=True)
    return tmp_path / "key"


async def add_channel(
    store: Store, key_file: Path, kind: str, config: dict[str, object], **more: object
) -> Channel:
    box = load_key("", key_file)

    def make(channel_id: int, now: int) -> Channel:
        sealed = channels.seal(kind, channels.validate(kind, config), channel_id, box)
        return Channel(channel_id, kind, kind, sealed, created_at=now, updated_at=now, **more)  # type: ignore[arg-type]

    return await channels_store.add(store, make)


@asynccontextmanager
async def running(store: Store, url: str, key_file: Path, count: int = 1) -> AsyncIterator[None]:
    """`count` notifiers."""
    stop = asyncio.Event()
    settings = load(redis_url=url, secret_key_file=str(key_file), allow_private_targets="127.0.0.0/8")
    tasks = [asyncio.create_task(service.run(store, settings, stop)) for _ in range(count)]
    try:
        yield
    finally:
        stop.set()
        await asyncio.gather(*tasks)


async def beat(store: Store, monitor_id: str, kind: scripts.Kind, message: str = "") -> None:
    monitor = await monitors.get(store, monitor_id)
    target = scripts.monitor_keys(store, monitor.id, monitor.token_hash)
    await scripts.beat(store.redis, 0, [scripts.Beat(target, kind, message=message)])


async def monitor(store: Store, name: str = "api-worker", **settings: object) -> str:
    return (await monitors.create(store, NewMonitor(name=name, **settings)))[0].id  # type: ignore[arg-type]


async def test_an_error_reaches_a_channel_and_its_event_is_acknowledged(
    store: Store, server: Server, key_file: Path
) -> None:
    """One message, the delivery recorded, nothing pending in the stream's group."""
    async with Receiver() as receiver, running(store, server.url, key_file):
        channel = await add_channel(store, key_file, "webhook", {"url": f"{receiver.url}/"})
        monitor_id = await monitor(store)
        await beat(store, monitor_id, "error", "disk full")
        await wait_until(lambda: receiver.journal.received, "the message")
        await wait_until(lambda: delivered(store, channel, 1), "the record")
        await wait_until(lambda: nothing_pending(store), "the acknowledgement")
    body = json.loads(receiver.journal.received[0]["body"])
    assert body["type"] == "monitor.error"
    assert "disk full" in body["text"]


async def test_the_notifier_that_reads_an_event_needs_no_hint(
    store: Store, server: Server, key_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor the scheduler: it wakes its own pump, at once."""
    monkeypatch.setattr(queue, "hint", lost)
    monkeypatch.setattr(scheduler, "wake_due", never)
    async with Receiver() as receiver, running(store, server.url, key_file):
        await add_channel(store, key_file, "webhook", {"url": f"{receiver.url}/"})
        await beat(store, await monitor(store), "error")
        await wait_until(lambda: receiver.journal.received, "the message")


async def test_a_shop_without_a_report_yet_is_told_of(store: Store, server: Server, key_file: Path) -> None:
    """Its first events come before its first report is kept; they are messages at once, not poison."""
    async with Receiver() as receiver:
        channel = await add_channel(
            store, key_file, "webhook", {"url": receiver.url}, events=("monitor.created",)
        )
        await store.redis.hset(keys.TELEMETRY, "shop.example", json.dumps({"monitor": "reserved"}))  # type: ignore[misc]
        await monitor(store, "shop.example", tags=("telemetry",))
        async with running(store, server.url, key_file):
            await wait_until(lambda: delivered(store, channel, 1), "the message")


async def delivered(store: Store, channel: Channel, count: int) -> bool:
    return await store.redis.zcard(keys.of_target(0, "done", channel.target)) == count


async def nothing_pending(store: Store) -> bool:
    groups = await store.redis.xinfo_groups(keys.events(0))
    return all(group["pending"] == 0 and group["lag"] == 0 for group in groups)


async def test_a_stopped_notifier_ends_at_once(store: Store, server: Server, key_file: Path) -> None:
    """Nothing under way: no reason to wait."""
    async with running(store, server.url, key_file):
        await asyncio.sleep(0.3)
        began = time.monotonic()
    assert time.monotonic() - began < 3


async def test_a_monitor_tells_only_its_channels(store: Store, server: Server, key_file: Path) -> None:
    """A list of ids, all, or none."""
    async with Receiver() as one, Receiver() as two, running(store, server.url, key_file):
        first = await add_channel(store, key_file, "webhook", {"url": f"{one.url}/"})
        second = await add_channel(store, key_file, "webhook", {"url": f"{two.url}/"})
        await beat(store, await monitor(store, "none", channels=""), "error")
        await beat(store, await monitor(store, "first", channels=str(first.id)), "error")
        await beat(store, await monitor(store, "all", channels="*"), "error")
        await wait_until(lambda: delivered(store, first, 2), "two for the first")
        await wait_until(lambda: delivered(store, second, 1), "one for the second")
    names = [json.loads(entry["body"])["monitor"]["name"] for entry in one.journal.received]
    assert sorted(names) == ["all", "first"]


async def test_a_storm_is_five_messages_and_then_digests(
    store: Store, server: Server, key_file: Path
) -> None:
    """Sixty errors at once: five one by one, the rest in one message that counts them."""
    async with BotApi() as bot, running(store, server.url, key_file, count=2):
        config = {"bot_token": "123456:test", "chat_id": "42", "api_base": bot.url}
        channel = await add_channel(store, key_file, "telegram", config)
        for number in range(60):
            await beat(store, await monitor(store, f"worker-{number}"), "error", f"broken {number}")
        await wait_until(lambda: delivered(store, channel, 60), "all told", timeout=15)
    assert len(bot.journal.received) <= 7
    assert any("monitors report errors" in entry["parsed"] for entry in bot.journal.received)


async def test_a_muted_monitor_keeps_its_history_but_tells_nobody(
    store: Store, server: Server, key_file: Path
) -> None:
    """Until the time it is muted to; the next error after that is told."""
    async with Receiver() as receiver, running(store, server.url, key_file):
        channel = await add_channel(store, key_file, "webhook", {"url": f"{receiver.url}/"})
        monitor_id = await monitor(store)
        await scripts.update_monitor(store, monitor_id, {"muted": str(int(time.time() * 1000) + 60_000)})
        await beat(store, monitor_id, "error", "unheard")
        await wait_until(lambda: nothing_pending(store), "the event to be handled")
        await scripts.update_monitor(store, monitor_id, {"muted": ""})
        await beat(store, monitor_id, "error", "heard")
        await wait_until(lambda: delivered(store, channel, 1), "the message")
    assert ["heard" in entry["body"] for entry in receiver.journal.received] == [True]


async def test_a_permanent_failure_is_a_dead_letter_that_another_channel_tells(
    store: Store, server: Server, key_file: Path
) -> None:
    """A wrong chat id ends at once, is listed as failed, and its event goes to others but never to itself."""
    async with BotApi() as bot, Receiver() as receiver, running(store, server.url, key_file):
        bot.missing.add("42")
        config = {"bot_token": "123456:test", "chat_id": "42", "api_base": bot.url}
        events = ("monitor.error", "delivery.dead_letter")
        broken = await add_channel(store, key_file, "telegram", config, events=events)
        other = await add_channel(
            store, key_file, "webhook", {"url": f"{receiver.url}/"}, events=("delivery.dead_letter",)
        )
        await beat(store, await monitor(store), "error")
        await wait_until(lambda: delivered(store, other, 1), "the dead letter told")
    page = await delivery_history.listing(store, broken.target, status="failed")
    assert len(page.items) == 1
    assert page.items[0].attempt == 1
    assert deliveries.public_id(store, broken.target, page.items[0].number) == page.items[0].id

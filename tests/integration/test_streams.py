"""Consumer groups over the event stream: at least once, healing, poison, and a stream that stays bounded."""

import asyncio
import contextlib
import json
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from conftest import SERVERS
from servers import Server
from waiting import under_way, wait_until

from shared import keys, stream_upkeep, streams
from shared.connection import Store, connect
from shared.events import NewEvent, emit

EVENTS = keys.events(0)


async def publish(store, *names):
    return await emit(store, [NewEvent("a.b", json.dumps({"n": name}), str(name)) for name in names])


@contextlib.asynccontextmanager
async def consuming(store, handler, consumer="c1", group="notifier", **more):
    async with under_way(streams.consume(store, group, consumer, handler, **more)) as task:
        yield task


class Log:
    """A handler that keeps what it saw, and fails for what it is told to."""

    def __init__(self, *bad, error=ValueError):
        self.seen = []
        self.bad = set(bad)
        self.error = error
        self.calls = []

    async def __call__(self, events):
        self.calls.append([event.id for event in events])
        for event in events:
            if event.id in self.bad:
                raise self.error(event.id)
        self.seen += [event.id for event in events]

    def tried(self, name):
        return sum(name in call for call in self.calls)


async def pending(store, group="notifier"):
    return (await store.redis.xpending(EVENTS, group))["pending"]


async def all_acknowledged(store):
    """A handler returns before its events are acknowledged, so this is to be waited for while they are consumed."""

    async def nothing_pending():
        return await pending(store) == 0

    await wait_until(nothing_pending, "all were acknowledged")


async def test_every_event_reaches_each_group_in_order(store):
    """Also those from before the group was there."""
    await publish(store, *range(10))
    one, two = Log(), Log()
    async with consuming(store, one), consuming(store, two, group="webhooks"):
        await wait_until(lambda: len(one.seen) == len(two.seen) == 10, "both groups saw the old events")
        await publish(store, *range(10, 600))
        await wait_until(lambda: len(one.seen) == len(two.seen) == 600, "both groups saw all")
        assert one.seen == two.seen == [str(i) for i in range(600)]
        assert max(map(len, one.calls)) <= streams.BATCH
        await all_acknowledged(store)


async def test_shards_are_read_side_by_side(store):
    """One consumer reads all shards."""
    sharded, log = Store(store.redis, 4), Log()
    await publish(sharded, *range(50))
    async with consuming(sharded, log):
        await wait_until(lambda: len(log.seen) == 50, "all shards were read")


async def test_two_consumers_share_the_work(store):
    """Each event goes to one of them."""
    one, two = Log(), Log()
    async with consuming(store, one, batch=8), consuming(store, two, "c2", batch=8):
        for start in range(0, 200, 20):
            await publish(store, *range(start, start + 20))
        await wait_until(lambda: len(one.seen) + len(two.seen) >= 200, "all were handled")
    assert Counter(one.seen + two.seen) == Counter(map(str, range(200)))


async def test_what_a_dead_consumer_left_is_taken_over(store):
    """Entries that were read and never acknowledged are handled by another, to the end of a long list."""
    await publish(store, *range(100))
    await store.redis.xgroup_create(EVENTS, "notifier", "0")
    await store.redis.xreadgroup("notifier", "dead", {EVENTS: ">"}, count=90)
    log = Log()
    async with consuming(store, log, batch=16, take_over_ms=50, take_over_every=0.05):
        await wait_until(lambda: len(log.seen) == 100, "the dead one's entries were handled")
        await all_acknowledged(store)


async def test_one_take_over_goes_to_the_end_of_the_list(store):
    """However many pages XAUTOCLAIM needs for what a dead consumer left."""
    await publish(store, *range(100))
    await store.redis.xgroup_create(EVENTS, "notifier", "0")
    await store.redis.xreadgroup("notifier", "dead", {EVENTS: ">"}, count=100)
    log = Log()
    await streams._take_over(streams.Reader(store, 0, "notifier", "c1", log, batch=16, take_over_ms=0))
    assert log.seen == [str(i) for i in range(100)]
    assert await pending(store) == 0


async def test_a_poison_entry_fails_alone_and_ends_aside(store):
    """The rest of its batch is handled at once; after five deliveries it goes to the poison stream."""
    log = Log("7")
    await publish(store, *range(20))
    async with consuming(store, log, take_over_ms=20, take_over_every=0.02):
        await wait_until(lambda: len(set(log.seen)) == 19, "the others were handled")
        found = await wait_until(lambda: store.redis.xrange(keys.poison(0)), "it was put aside")
        await all_acknowledged(store)
    ((_, fields),) = found
    assert (fields["id"], fields["poison_group"]) == ("7", "notifier")
    assert "ValueError" in fields["poison_error"]
    assert sum(1 for call in log.calls if call == ["7"]) == streams.POISON_AFTER


async def test_an_entry_that_is_no_event_is_poison(store):
    """Whatever somebody put into the stream, the group goes on."""
    await store.redis.xadd(EVENTS, {"what": "ever"})
    await publish(store, 1)
    log = Log()
    async with consuming(store, log, take_over_ms=20, take_over_every=0.02):
        await wait_until(lambda: log.seen == ["1"], "the event was handled")
        await wait_until(lambda: store.redis.xlen(keys.poison(0)), "the other was put aside")


async def test_an_entry_that_kills_its_consumers_ends_aside(store):
    """It never fails, its consumers vanish: the sixth does not touch it."""
    await publish(store, "killer", "innocent")
    await store.redis.xgroup_create(EVENTS, "notifier", "0")
    await store.redis.xreadgroup("notifier", "dead", {EVENTS: ">"}, count=1)
    for _ in range(streams.POISON_AFTER - 1):
        await store.redis.xautoclaim(EVENTS, "notifier", "dead", 0, "0-0")
    log = Log()
    async with consuming(store, log, take_over_ms=20, take_over_every=0.02):
        await wait_until(lambda: store.redis.xlen(keys.poison(0)), "it was put aside")
        await wait_until(lambda: log.seen == ["innocent"], "the other was handled")


async def test_whose_consumers_die_over_others_is_no_poison(store):
    """Each of many consumers dies over another entry of the same batch: none of these entries is to blame."""
    await publish(store, *range(50))
    log = Log()
    for number in range(3 * streams.POISON_AFTER):
        reached = asyncio.Event()

        async def die_over_one(events, name=str(number), reached=reached):
            if name in [event.id for event in events]:
                reached.set()
                await asyncio.Event().wait()
            await log(events)

        async with consuming(store, die_over_one, f"c{number}", take_over_ms=5, take_over_every=0.01):
            await asyncio.wait_for(reached.wait(), 5)
    async with consuming(store, log, "last", take_over_ms=5, take_over_every=0.01):
        await wait_until(lambda: "49" in log.seen, "the last handled the rest")
        await all_acknowledged(store)
    assert set(log.seen) == set(map(str, range(50)))
    assert not await store.redis.exists(keys.poison(0))


async def test_an_absent_redis_in_the_handler_is_no_poison(store, monkeypatch):
    """A handler that cannot reach Redis has its events again later, however long that takes."""
    log = Log("3", error=ConnectionError)
    await publish(store, *range(5))
    monkeypatch.setattr(streams, "LONGEST_PAUSE", 0.02)
    async with consuming(store, log, take_over_ms=10, take_over_every=0.01):
        await wait_until(lambda: log.tried("3") > streams.POISON_AFTER + 2, "it was tried often", 15)
        log.bad.clear()
        await wait_until(lambda: set(log.seen) == set("01234"), "all were handled")
    assert not await store.redis.exists(keys.poison(0))


async def test_a_lost_group_heals_where_it_stood(store):
    """Destroyed under the consumer, it goes on without a gap and without beginning again."""
    log = Log()
    await publish(store, *range(10))
    async with consuming(store, log):
        await wait_until(lambda: len(log.seen) == 10, "the first were handled")
        await wait_until(lambda: store.redis.get(keys.group(0, "notifier")), "the position is stored")
        await store.redis.xgroup_destroy(EVENTS, "notifier")
        await publish(store, *range(10, 20))
        await wait_until(lambda: "19" in log.seen, "the group heals")
    assert log.seen == [str(i) for i in range(20)]


async def test_a_lost_stream_heals(store):
    """Everything deleted: the next events arrive."""
    log = Log()
    await publish(store, 1)
    async with consuming(store, log):
        await wait_until(lambda: log.seen == ["1"], "the first was handled")
        await store.redis.flushall()
        await publish(store, 2)
        await wait_until(lambda: log.seen == ["1", "2"], "the second was handled")


async def test_the_stored_position_stays_below_what_is_pending(store):
    """A group recreated there sees an unacknowledged entry again."""
    await publish(store, *range(6))
    entries = [entry for entry, _ in await store.redis.xrange(EVENTS)]
    await store.redis.xgroup_create(EVENTS, "notifier", "0")
    await store.redis.xreadgroup("notifier", "c", {EVENTS: ">"}, count=6)
    reader = streams.Reader(store, 0, "notifier", "c", Log())
    await streams._acknowledge(reader, [(entry, {}) for entry in (entries[0], entries[1], entries[3])])
    await store.redis.xgroup_destroy(EVENTS, "notifier")
    await streams._heal(reader)
    again = await streams._read(reader)
    assert [entry for entry, _ in again] == entries[2:]


@pytest.mark.parametrize("name", SERVERS)
async def test_an_outage_is_waited_out(name, anyio_backend):
    """The server goes away and comes back: the consumer goes on by itself."""
    with tempfile.TemporaryDirectory(prefix="pulse-") as folder:
        server = Server(name, SERVERS[name], Path(folder))
        server.start("--appendonly", "yes", "--appendfsync", "always")
        store, log = Store(connect(server.url), 1), Log()
        try:
            async with consuming(store, log) as task:
                await publish(store, 1)
                await wait_until(lambda: log.seen == ["1"], "the first was handled")
                server.stop(kill=True)
                await asyncio.sleep(0.5)
                assert not task.done()
                server.start("--appendonly", "yes", "--appendfsync", "always")
                await publish(store, 2)
                await wait_until(lambda: log.seen == ["1", "2"], "the second was handled", timeout=10)
        finally:
            await store.redis.aclose()
            server.stop()


async def fill(store, count):
    pipe = store.redis.pipeline(transaction=False)
    for i in range(count):
        pipe.xadd(EVENTS, {"id": str(i), "type": "a.b", "at": "1", "payload": "{}"})
    await pipe.execute()


async def test_trimming_keeps_the_newest(store):
    """Beyond the limit the oldest go, up to a node of 100 entries."""
    await fill(store, 3_000)
    assert await stream_upkeep.trim(store, 0, keep_entries=1_000) >= 1_900
    assert 1_000 <= await store.redis.xlen(EVENTS) <= 1_100
    assert await stream_upkeep.trim(store, 0, keep_entries=1_000) == 0


async def test_trimming_never_passes_what_a_group_still_needs(store):
    """Neither the unread nor the unacknowledged, by count or by age."""
    await fill(store, 1_000)
    await store.redis.xgroup_create(EVENTS, "slow", "0")
    await store.redis.xgroup_create(EVENTS, "fast", "$")
    assert await stream_upkeep.trim(store, 0, keep_entries=10) == 0
    read = (await store.redis.xreadgroup("slow", "c", {EVENTS: ">"}, count=900))[0][1]
    await store.redis.xack(EVENTS, "slow", *[entry for entry, _ in read[:500]])
    await stream_upkeep.trim(store, 0, keep_entries=10)
    await stream_upkeep.trim(store, 0, keep_ms=0, drop_after_ms=10**9)
    left = await store.redis.xrange(EVENTS)
    assert left[0][0] <= read[500][0]
    assert 500 <= len(left) <= 600
    await store.redis.xack(EVENTS, "slow", *[entry for entry, _ in read])
    await store.redis.xreadgroup("slow", "c", {EVENTS: ">"}, noack=True)
    await stream_upkeep.trim(store, 0, keep_entries=10)
    assert await store.redis.xlen(EVENTS) <= 110


async def test_a_group_that_reads_nothing_is_dropped(store):
    """One that holds back old entries and whose consumers are idle; a reading one stays."""
    await fill(store, 300)
    await store.redis.xgroup_create(EVENTS, "gone", "0")
    await store.redis.xgroup_create(EVENTS, "alive", "0")
    await asyncio.sleep(0.6)
    await store.redis.xreadgroup("alive", "c", {EVENTS: ">"}, count=10)
    await stream_upkeep.trim(store, 0, keep_ms=10, drop_after_ms=500)
    assert [group["name"] for group in await store.redis.xinfo_groups(EVENTS)] == ["alive"]


async def test_a_group_without_anything_to_read_stays(store):
    """Idle, but holding nothing back."""
    await fill(store, 10)
    await store.redis.xgroup_create(EVENTS, "calm", "$")
    await asyncio.sleep(0.03)
    await stream_upkeep.trim(store, 0, keep_ms=1, drop_after_ms=1)
    assert len(await store.redis.xinfo_groups(EVENTS)) == 1


async def test_consumers_that_ended_are_tidied_away(store):
    """Unless something is pending in their name."""
    await fill(store, 10)
    await store.redis.xgroup_create(EVENTS, "g", "0")
    await store.redis.xreadgroup("g", "holding", {EVENTS: ">"}, count=5)
    await store.redis.xgroup_createconsumer(EVENTS, "g", "ended")
    await asyncio.sleep(0.03)
    assert await stream_upkeep.tidy(store, 0, "g", idle_ms=10) == 1
    assert [c["name"] for c in await store.redis.xinfo_consumers(EVENTS, "g")] == ["holding"]


async def test_a_group_that_cannot_be_created_yet_is_created_later(store):
    """A server that is full refuses to create it; the consumer waits until there is room again."""
    log = Log()
    await publish(store, 1)
    await store.redis.config_set("maxmemory", "1")
    try:
        async with consuming(store, log) as task:
            reader = streams.Reader(store, 0, "notifier", "c", log)
            assert not await streams._heal(reader), "the server is not full"
            await asyncio.wait([task], timeout=0.5)
            assert not task.done()
            await store.redis.config_set("maxmemory", "0")
            await wait_until(lambda: log.seen == ["1"], "the group is made and read")
    finally:
        await store.redis.config_set("maxmemory", "0")

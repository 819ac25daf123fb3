"""A Redis Cluster: every command goes where its slot is, also while slots move and nodes die."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from console import Console
from group import mishpulse
from redis.asyncio import Redis
from redis.exceptions import RedisError
from servers import Server, binaries
from telling import Program, telling
from test_sentinel import accepted, children, ready, serves, tells_again
from test_story import BACK, DEAD, comes_back, comes_to_life, dies_and_is_heard
from topology import ClusterGroup, Node, eventually
from waiting import wait_until

from services.watchdog import expiry
from shared import keys, monitors, schema, scripts
from shared.auth import hash_token
from shared.cluster import Cluster, primaries
from shared.connection import Store, connect
from shared.errors import ConfigError
from shared.events import NewEvent, emit
from shared.monitors import NewMonitor
from shared.slots import slot_of_key
from shared.streams import consume


def binary() -> str:
    found = binaries()
    return found.get("redis-server") or found["valkey"]


@pytest.fixture(scope="module")
def group(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterGroup]:
    """Three primaries."""
    group = ClusterGroup(binary(), tmp_path_factory.mktemp("cluster"))
    try:
        yield group.start()
    finally:
        group.stop()


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[Server]:
    """The Redis of the job queue."""
    folder = tmp_path / "queue"
    folder.mkdir()
    server = Server("queue", binary(), folder)
    server.start()
    yield server
    server.stop()


@pytest.fixture
async def store(group: ClusterGroup) -> AsyncIterator[Store]:
    """An empty store of 64 shards."""
    redis = connect(group.url)
    await redis.flushall()
    yield await schema.open_store(redis)
    await redis.aclose()


def cluster_of(store: Store) -> Cluster:
    assert isinstance(store.redis, Cluster)
    return store.redis


async def test_new_data_get_64_shards_which_are_kept(store: Store, group: ClusterGroup) -> None:
    """Each primary has some of them; another number is refused, and so is a URL that sees one node alone."""
    assert store.shards == 64
    holders = [cluster_of(store).map.holder(slot_of_key(keys.events(shard))) for shard in range(64)]
    assert min(holders.count(node) for node in set(holders)) > 10
    assert len(set(holders)) == 3
    assert (await schema.open_store(store.redis)).shards == 64
    with pytest.raises(ConfigError, match="set it to 64"):
        await schema.open_store(store.redis, 1)
    single = connect(f"redis://127.0.0.1:{group.nodes[0].port}/0")
    with pytest.raises(ConfigError, match=r"redis\+cluster://"):
        await schema.open_store(single)
    await single.aclose()


async def test_a_pipeline_goes_to_every_node_and_its_answers_stand_in_order(store: Store) -> None:
    """Writes and reads of all shards, errors among the answers where they belong."""
    pipe = store.redis.pipeline(transaction=False)
    for shard in range(64):
        pipe.set(f"mp:{{{shard}}}:x", shard)
    pipe.incr("mp:{c}:version:x")
    pipe.lpush("mp:{c}:version:x", "no list")
    for shard in range(64):
        pipe.get(f"mp:{{{shard}}}:x")
    answers = await pipe.execute(raise_on_error=False)
    assert answers[:65] == [True] * 64 + [1]
    assert "WRONGTYPE" in str(answers[65])
    assert answers[66:] == [str(shard) for shard in range(64)]
    with pytest.raises(RedisError, match="WRONGTYPE"):
        await store.redis.pipeline(transaction=False).lpush("mp:{c}:version:x", "again").execute()


async def test_a_transaction_lies_in_one_slot(store: Store) -> None:
    """All or nothing there; over two slots it is refused before anything is sent."""
    pipe = store.redis.pipeline(transaction=True)
    pipe.set("mp:{5}:a", 1)
    pipe.incr("mp:{5}:a")
    assert await pipe.execute() == [True, 2]
    pipe.incr("mp:{5}:a")
    pipe.incr("mp:{6}:a")
    with pytest.raises(RedisError, match="one slot"):
        await pipe.execute()
    assert await store.redis.get("mp:{5}:a") == "2"


async def test_what_would_see_one_node_only_is_refused(store: Store) -> None:
    """Instead of a silent part of the truth."""
    for command in (("KEYS", "*"), ("SCAN", 0), ("DBSIZE",), ("WATCH", "a"), ("NONSENSE",)):
        with pytest.raises(RedisError, match="not for a whole cluster"):
            await store.redis.execute_command(*command)
    with pytest.raises(RedisError, match="primaries"):
        store.redis.pubsub()
    assert len(await primaries(store.redis)) == 3


async def test_a_script_is_learned_by_each_node(store: Store) -> None:
    """A heartbeat in every shard, although no node knew the script."""
    await store.redis.execute_command("SCRIPT FLUSH")
    made = [await monitors.create(store, NewMonitor(f"m{number}")) for number in range(40)]
    for monitor, token in made:
        found = scripts.monitor_keys(store, monitor.id, hash_token(token))
        assert await scripts.beat(store.redis, found.shard, [scripts.Beat(found, "ok")]) == [2]


def move_whole_slot(group: ClusterGroup, slot: int, source: Node, target: Node) -> None:
    """As an operator's `redis-cli --cluster reshard` does, without its last step."""
    target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", source.ask("CLUSTER", "MYID"))
    source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", target.ask("CLUSTER", "MYID"))
    while found := source.ask("CLUSTER", "GETKEYSINSLOT", slot, 100):
        source.ask("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *found)


def node_of(group: ClusterGroup, client: Redis) -> Node:
    port = client.connection_pool.connection_kwargs["port"]
    return next(node for node in group.nodes if node.port == port)


async def test_a_slot_that_moves_is_followed(store: Store, group: ClusterGroup) -> None:
    """Commands, pipelines and transactions while the keys are on their way (ASK) and after (MOVED)."""
    await store.redis.set("mp:{9}:a", "1")
    slot = slot_of_key("mp:{9}:a")
    source = node_of(group, cluster_of(store).map.holder(slot))
    target = next(node for node in group.nodes if node is not source)
    move_whole_slot(group, slot, source, target)
    assert await store.redis.get("mp:{9}:a") == "1"
    assert await store.redis.set("mp:{9}:b", "2")
    pipe = store.redis.pipeline(transaction=False)
    pipe.get("mp:{9}:a")
    pipe.get("mp:{8}:a")
    pipe.get("mp:{9}:b")
    assert await pipe.execute() == ["1", None, "2"]
    for node in (target, source, *group.nodes):
        node.ask("CLUSTER", "SETSLOT", slot, "NODE", target.ask("CLUSTER", "MYID"))
    pipe = store.redis.pipeline(transaction=True)
    pipe.incr("mp:{9}:a")
    pipe.get("mp:{9}:b")
    assert await pipe.execute() == [2, "2"]
    assert node_of(group, cluster_of(store).map.holder(slot)) is target
    await asyncio.to_thread(eventually, group.settled, "every node finds the cluster well")


async def test_expiry_events_of_every_node_are_heard(store: Store) -> None:
    """Monitors all over the cluster die by the hint alone: nobody sweeps here."""
    stop = asyncio.Event()
    made = [await monitors.create(store, NewMonitor(f"m{number}", timeout=1_000)) for number in range(30)]
    assert (
        len({cluster_of(store).map.holder(slot_of_key(keys.events(store.shard_of(m.id)))) for m, _ in made})
        == 3
    )
    listening = asyncio.create_task(expiry.listen(store, stop))

    async def heard() -> bool:
        counts = [await node.pubsub_numpat() for node in await primaries(store.redis)]
        return min(counts) > 0

    async def all_dead() -> bool:
        for shard in range(64):
            await scripts.stamp(store.redis, shard, None)
        found = await monitors.get_many(store, [monitor.id for monitor, _ in made])
        return all(monitor.status == "dead" for monitor in found)

    await wait_until(heard, "a subscription on each node")
    for shard in range(64):
        await scripts.stamp(store.redis, shard, None)
    for monitor, token in made:
        found = scripts.monitor_keys(store, monitor.id, hash_token(token))
        await scripts.beat(store.redis, found.shard, [scripts.Beat(found, "ok")])
    await wait_until(all_dead, "every death", 10)
    stop.set()
    await listening


async def test_events_of_all_shards_are_read_at_once(store: Store) -> None:
    """One consumer waits on 64 streams; an event is there within a moment wherever it happens."""
    seen: dict[str, float] = {}

    async def note(events: object) -> None:
        seen.update({event.id: time.monotonic() for event in events})  # type: ignore[attr-defined]

    reading = asyncio.create_task(consume(store, "notifier", "one", note))
    await emit(store, [NewEvent("a.b", "{}", id=f"first{number}") for number in range(64)])
    await wait_until(lambda: len(seen) == 64, "all shards are read")
    began = time.monotonic()
    await emit(store, [NewEvent("a.b", "{}", id=f"second{number}") for number in range(64)])
    await wait_until(lambda: len(seen) == 128, "all events")
    assert max(seen.values()) - began < 1
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)


def test_the_doctor_looks_at_each_primary(group: ClusterGroup, queue: Server, tmp_path: Path) -> None:
    """By its address; and a cluster without a queue beside it is a wrong setting."""
    console = Console({"PULSE_REDIS_URL": group.url, "PULSE_QUEUE_REDIS_URL": queue.url})
    told = console("doctor").out
    for node in group.nodes:
        assert f"127.0.0.1:{node.port}: append-only file" in told
    done = mishpulse("watchdog", PULSE_REDIS_URL=group.url)
    assert done.returncode == 2
    assert "PULSE_QUEUE_REDIS_URL: must name a Redis of its own" in done.stderr


@pytest.fixture
def programs() -> Iterator[list[Program]]:
    started: list[Program] = []
    yield started
    for program in started:
        program.kill()


async def test_the_whole_story(
    tmp_path: Path, group: ClusterGroup, store: Store, queue: Server, programs: list[Program]
) -> None:
    """A program beats, dies, everybody hears it within a second of the deadline, and of its recovery."""
    async with telling(tmp_path, PULSE_REDIS_URL=group.url, PULSE_QUEUE_REDIS_URL=queue.url) as story:
        await story.channels()
        program = await comes_to_life(story, programs)
        url = str(program.process.args[3])  # type: ignore[index]
        await dies_and_is_heard(story, program)
        await comes_back(story, programs, url)
        assert (story.heard(DEAD), story.heard(BACK)) == ((1, 1, 1), (1, 1, 1))
        assert await ready(story)
        assert story.group.stop() < 10


async def test_a_primary_that_dies_is_replaced_by_its_replica(
    tmp_path: Path, programs: list[Program]
) -> None:
    """The story again, on a cluster with replicas, while the node of the small control data is killed."""
    group = ClusterGroup(binary(), tmp_path / "replicated", replicas=1)
    queue = Server("queue", binary(), tmp_path / "queue")
    queue.folder.mkdir()
    redis: Redis | None = None
    try:
        group.start()
        redis = connect(group.url)
        queue.start()
        async with telling(tmp_path, PULSE_REDIS_URL=group.url, PULSE_QUEUE_REDIS_URL=queue.url) as story:
            await story.channels()
            program = await comes_to_life(story, programs)
            assert story.group.process is not None
            before = children(story.group.process.pid)
            await redis.ping()
            for node in await primaries(redis):
                await node.execute_command("WAIT", 1, 1000)
            assert isinstance(redis, Cluster)
            victim = node_of(group, redis.map.holder(slot_of_key(keys.SCHEMA)))
            victim.kill()
            await wait_until(
                lambda: serves(redis, "mp:{c}:served"), "a write of control data acknowledged", 15
            )
            await wait_until(lambda: ready(story), "/readyz", 15)
            url = str(program.process.args[3])  # type: ignore[index]
            # Its shard may have been the victim's: a silence that began in the gap counts from the gap's end.
            await wait_until(lambda: accepted(story, url), "a heartbeat accepted again", 15)
            await tells_again(story)
            await dies_and_is_heard(story, program)
            assert children(story.group.process.pid) == before
    finally:
        if redis is not None:
            await redis.aclose()
        queue.stop()
        group.stop()


def test_a_cluster_that_is_none_is_said(queue: Server) -> None:
    """A redis+cluster:// URL of a single server, and of nobody."""
    url = "redis+cluster://127.0.0.1:1"
    done = mishpulse("watchdog", PULSE_REDIS_URL=url, PULSE_QUEUE_REDIS_URL=queue.url)
    assert done.returncode == 1
    assert "no node of the cluster answers" in done.stderr

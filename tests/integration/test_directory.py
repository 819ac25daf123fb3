"""The token directory, and what the data of older versions become."""

import pytest

from shared import directory, keys, model, monitors, schema, scripts
from shared.auth import hash_token
from shared.connection import Store
from shared.errors import Conflict
from shared.monitors import NewMonitor


async def test_a_token_leads_to_its_monitor_until_it_is_released(store: Store):
    """Releasing takes away only what the monitor itself still has."""
    first, token = await monitors.create(store, NewMonitor("first"))
    second, _ = await monitors.create(store, NewMonitor("second"))
    assert await directory.find(store, hash_token(token)) == first.id
    await directory.release(store, hash_token(token), second.id)
    assert await directory.find(store, hash_token(token)) == first.id
    await directory.release(store, hash_token(token), first.id)
    assert await directory.find(store, hash_token(token)) is None


async def test_an_entry_without_its_monitor_is_taken_over(store: Store):
    """What a process that died left behind keeps nobody from the token."""
    await directory.point(store, hash_token("the-one"), model.new_monitor_id())
    assert await directory.find(store, hash_token("the-one")) is None
    made, _ = await monitors.create(store, NewMonitor("heir", token="the-one"))
    assert await directory.find(store, hash_token("the-one")) == made.id


async def test_a_hash_with_the_same_head_is_not_the_token(store: Store, monkeypatch: pytest.MonkeyPatch):
    """Entries hold the head of a hash; two hashes that share it are told apart, and neither takes the other's place."""
    monkeypatch.setattr(keys, "BUCKETS", 1)
    made, token = await monitors.create(store, NewMonitor("first"))
    twin = hash_token(token)[: keys.TOKEN_HEAD].ljust(43, "x")
    assert await directory.find(store, twin) is None
    with pytest.raises(Conflict):
        async with directory.reserved(store, twin, model.new_monitor_id()):
            pass
    assert await directory.find(store, hash_token(token)) == made.id


async def test_a_monitor_stores_no_time_that_its_id_tells(store: Store):
    """The time of creation follows from the id; one whose id tells another time, or none, has it stored."""
    made, _ = await monitors.create(store, NewMonitor("by its id"))
    assert not await store.redis.hexists(keys.monitor(0, made.id), "created")
    assert abs(made.created - made.since) <= 1000
    for odd in ("imported", "0" * 14):
        assert await monitors.write(store, odd, hash_token(odd), NewMonitor(odd))
        kept = await monitors.get(store, odd)
        assert kept.created == kept.since


async def test_a_monitor_without_incident_stores_none(store: Store):
    """The field is there while the incident is open."""
    made, _ = await monitors.create(store, NewMonitor("comes and goes"))
    beaten = scripts.monitor_keys(store, made.id, made.token_hash)
    for kind, is_open in (("ok", False), ("error", True), ("ok", False)):
        await scripts.beat(store.redis, 0, [scripts.Beat(beaten, kind)])  # type: ignore[arg-type]
        assert await store.redis.hexists(keys.monitor(0, made.id), "incident") is is_open
        assert bool((await monitors.get(store, made.id)).incident) is is_open


async def test_data_of_version_1_are_migrated(store: Store):
    """Tokens stay good and monitors the same, also when the migration is run twice."""
    made, token = await monitors.create(store, NewMonitor("old"))
    at = made.created
    await store.redis.delete(keys.tokens(1, made.token_hash)[0])
    await store.redis.hset(keys.monitor(0, made.id), mapping={"created": at, "incident": ""})
    old_key = f"mp:{{0}}:token:{made.token_hash}"
    await store.redis.set(old_key, made.id)
    for _ in range(2):
        await store.redis.hset(keys.SCHEMA, mapping={"version": "1", "shards": "1"})
        await schema.open_store(store.redis, 1)
        assert await store.redis.hget(keys.SCHEMA, "version") == str(schema.VERSION)
        assert await directory.find(store, hash_token(token)) == made.id
        assert await monitors.get(store, made.id) == made
        assert not await store.redis.exists(old_key)
        stored = await store.redis.hgetall(keys.monitor(0, made.id))
        assert not {"created", "incident"} & set(stored)


async def test_data_of_version_2_list_an_open_incident_once(store: Store):
    """It stood among all incidents and among the open ones; one that is over stays where it is."""
    made, _ = await monitors.create(store, NewMonitor("old"))
    still, over = f"{made.id}.5", f"{made.id}.3"
    await store.redis.zadd(keys.incidents(0), {over: 3, still: 5})
    await store.redis.zadd(keys.open_incidents(0), {still: 5})
    for _ in range(2):
        await store.redis.hset(keys.SCHEMA, mapping={"version": "2", "shards": "1"})
        await schema.open_store(store.redis, 1)
        assert await store.redis.zrange(keys.incidents(0), 0, -1) == [over]
        assert await store.redis.zrange(keys.open_incidents(0), 0, -1) == [still]

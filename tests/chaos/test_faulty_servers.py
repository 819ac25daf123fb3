"""The tools that break things are themselves checked: a campaign whose faults do not happen proves nothing."""

import asyncio
import time
from contextlib import asynccontextmanager

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from servers import binaries

from chaos.proxy import Proxy
from chaos.redis_server import RedisServer
from shared.connection import connect


@pytest.fixture(params=sorted(binaries()))
def kind(request):
    """Each server found on this machine."""
    return request.param


@asynccontextmanager
async def running(folder, kind, policy="everysec"):
    """A server and a client of it; both end whatever the test finds."""
    server = RedisServer(folder, policy, name=kind)
    server.start()
    client = connect(server.url)
    try:
        yield server, client
    finally:
        await client.aclose()
        server.kill()


@pytest.fixture
async def proxied(tmp_path):
    """A Redis, the proxy in front of it, and a client of the proxy."""
    server = RedisServer(tmp_path)
    server.start()
    async with Proxy(f"unix:{server.socket}", f"unix:{tmp_path}/proxied", seed=7) as proxy:
        client = connect(f"unix://{tmp_path}/proxied")
        yield proxy, client
        await client.aclose()
    server.kill()


async def test_a_cut_reply_is_of_a_write_that_happened(proxied):
    """A tenth of the writes gets no reply, reads get theirs, and the client's one repetition shows in the data."""
    proxy, client = proxied
    await proxy.set("cut", share=0.1)
    unanswered = 0
    for _ in range(500):
        try:
            await client.incr("n")
        except RedisConnectionError:
            unanswered += 1
        assert await client.get("n") is not None
    counts = await proxy.counts()
    assert int(await client.get("n")) == counts["writes"] == 500 + counts["cut"] - unanswered
    assert 20 < counts["cut"] < 100


async def test_replies_come_late_and_in_order(proxied):
    """A delay applies to each reply."""
    proxy, client = proxied
    await client.ping()
    await proxy.set("delay", delay=0.1)
    began = time.monotonic()
    assert [await client.incr("n") for _ in range(3)] == [1, 2, 3]
    assert time.monotonic() - began >= 0.3


async def test_a_refusing_proxy_closes_what_is_open_and_comes_back(proxied):
    """Nobody listens while it refuses."""
    proxy, client = proxied
    await client.ping()
    await proxy.set("refuse")
    with pytest.raises(RedisConnectionError):
        await client.ping()
    await proxy.set("pass")
    assert await client.ping()


async def test_a_black_hole_answers_nothing_and_does_nothing(proxied):
    """What was swallowed never reaches the server; new connections afterwards do."""
    proxy, client = proxied
    await client.set("n", 1)
    await proxy.set("blackhole")
    with pytest.raises((RedisTimeoutError, TimeoutError)):
        async with asyncio.timeout(0.3):
            await client.incr("n")
    await proxy.set("pass")
    assert await client.get("n") == "1"


async def acknowledged_within(client, seconds):
    """Each write that was acknowledged within so many seconds, and when."""
    writes = []
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        writes.append((await client.incr("n"), time.monotonic()))
        await asyncio.sleep(0.005)
    return writes


async def test_a_kill_loses_no_acknowledged_write_while_fsyncs_are_quick(kind, tmp_path):
    """With `everysec` the server writes before it answers: the page cache survives a kill."""
    async with running(tmp_path, kind) as (server, client):
        for _ in range(3):
            writes = await acknowledged_within(client, 0.5)
            server.kill()
            server.start()
            assert int(await client.get("n")) >= writes[-1][0]


async def test_a_kill_loses_acknowledged_writes_while_an_fsync_is_slow(kind, tmp_path):
    """The last writes are lost, at most about 2 s of them.

    Not every time: it writes what it put off within some 2 s, so a kill that is held up for longer after the last write
    loses nothing. So some kill of five loses something.
    """
    async with running(tmp_path, kind) as (server, client):
        for _ in range(5):
            server.slow_fsyncs(3.0)
            writes = await acknowledged_within(client, 3.5)
            killed = time.monotonic()
            server.kill()
            server.slow_fsyncs(0)
            server.start()
            kept = int(await client.get("n"))
            if lost := [at for number, at in writes if number > kept]:
                assert killed - lost[0] < 2.5
                return
    pytest.fail("five kills while fsyncs were slow lost nothing")


async def test_nothing_acknowledged_is_lost_when_each_write_is_synced(kind, tmp_path):
    """With `always` the answer waits for the slow fsync, and a kill loses nothing that was answered."""
    async with running(tmp_path, kind, "always") as (server, client):
        server.slow_fsyncs(0.3)
        began = time.monotonic()
        numbers = [await client.incr("n") for _ in range(3)]
        assert time.monotonic() - began >= 0.8
        server.kill()
        server.slow_fsyncs(0)
        server.start()
        assert int(await client.get("n")) >= numbers[-1]

"""TLS and passwords towards sentinels and clusters, spelled as docs/operations.md says."""

import asyncio
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from doubles import certificates
from redis.exceptions import AuthenticationError, RedisError
from servers import binaries
from topology import ClusterGroup, SentinelGroup

from shared.connection import connect

USER = ("ACL", "SETUSER", "pulse", "on", ">p@ss", "~*", "&*", "+@all")


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    made = certificates.make()
    (folder / "certificate.pem").write_text(made.certificate)
    (folder / "key.pem").write_text(made.key)
    return folder


def with_user(url: str, pair: Path, options: str = "") -> str:
    scheme, _, rest = url.partition("://")
    return f"{scheme}://pulse:p%40ss@{rest}?ssl_ca_certs={pair}/certificate.pem{options}"


def binary() -> str:
    found = binaries()
    return found.get("redis-server") or found["valkey"]


@pytest.fixture
def sentinel(pair: Path, tmp_path: Path) -> Iterator[SentinelGroup]:
    group = SentinelGroup(binary(), tmp_path / "sentinel", replicas=1, sentinels=1, tls=pair)
    try:
        yield group.start()
    finally:
        group.stop()


@pytest.fixture
def cluster(pair: Path, tmp_path: Path) -> Iterator[ClusterGroup]:
    group = ClusterGroup(binary(), tmp_path / "cluster", tls=pair)
    try:
        yield group.start()
    finally:
        group.stop()


async def test_sentinels_with_a_password_of_their_own(sentinel: SentinelGroup, pair: Path) -> None:
    """Both hops are encrypted, each with its own user."""
    sentinel.nodes[0].ask(*USER)
    sentinel.watchers[0].ask("ACL", "SETUSER", "watch", "on", ">other", "~*", "&*", "+@all")
    redis = connect(
        with_user(
            sentinel.url, pair, "&sentinel_username=watch&sentinel_password=other&ssl_check_hostname=yes"
        )
    )
    assert await redis.set("a", "1")
    assert await redis.acl_whoami() == "pulse"
    await redis.aclose()
    wrong = connect(with_user(sentinel.url, pair, "&sentinel_username=watch&sentinel_password=wrong"))
    with pytest.raises(RedisError, match="no sentinel knows"):
        await wrong.ping()
    await wrong.aclose()


async def test_a_cluster_through_tls(cluster: ClusterGroup, pair: Path) -> None:
    """Every node, also those that the URL does not name; a wrong password is said as such."""
    for node in cluster.nodes:
        node.ask(*USER)
    url = f"rediss+cluster://127.0.0.1:{cluster.nodes[0].port}"
    redis = connect(with_user(url, pair))
    for shard in range(16):
        assert await redis.set(f"mp:{{{shard}}}:a", "1")
    await redis.aclose()
    wrong = connect(with_user(url, pair).replace("p%40ss", "wrong"))
    with pytest.raises((AuthenticationError, RedisError), match=r"WRONGPASS|invalid username-password"):
        await wrong.ping()
    await wrong.aclose()


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


async def test_a_refused_connection_ends_at_once(pair: Path) -> None:
    """Nobody waits for the good-bye of a server that said no, so its socket is not kept for one."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair / "certificate.pem", pair / "key.pem")
    done = threading.Event()

    def refuse_and_hang(listener: socket.socket) -> None:
        line, _ = listener.accept()
        with context.wrap_socket(line, server_side=True) as through:
            through.recv(1024)
            through.sendall(b"-WRONGPASS no\r\n")
            done.wait(10)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=refuse_and_hang, args=(listener,))
        server.start()
        before = open_files()
        port = listener.getsockname()[1]
        redis = connect(with_user(f"rediss://127.0.0.1:{port}", pair))
        with pytest.raises(AuthenticationError):
            await redis.ping()
        await redis.aclose()
        await asyncio.sleep(0)  # the loop closes what was given up
        mine = open_files() - before - 1  # the server's own end is still open
        done.set()
        server.join()
    assert mine == 0

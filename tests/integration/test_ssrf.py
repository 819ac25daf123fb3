"""No request leaves for a forbidden address, however it is written, resolved or led there.

Every row goes through the real sender. Two witnesses look on: listeners on every local address, which must never be
connected to, and an audit hook, which hears of every attempt to connect to anywhere.
"""

import socket
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import pytest
from doubles.certificates import make
from doubles.receiver import Receiver
from ssrf_rows import HOSTS, LITERALS, PERMITTED, info

from shared.errors import DeliveryError
from shared.outbound import Sender
from shared.resolver import Resolver
from shared.targets import forbidden, parse_networks

PAIR = make("hook.test", "127.0.0.2")
FRIEND = "127.0.0.2"
"""Stands for a permitted host: the only address that a sender of these tests may be allowed."""


class Trap:
    """Listens on one port of every local address and counts who comes."""

    def __init__(self) -> None:
        self.connections = 0
        self.attempts: list[str] = []
        self.watching = False
        if socket.has_dualstack_ipv6():
            self._listener = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
        else:
            self._listener = socket.create_server(("0.0.0.0", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            connection.close()

    def hear(self, event: str, arguments: tuple) -> None:
        if self.watching and event == "socket.connect":
            self.attempts.append(str(arguments[1]))

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    @contextmanager
    def unvisited(self, but: tuple[str, ...] = ()) -> Iterator[None]:
        """Within it nobody tries to connect anywhere, except to the addresses in `but`."""
        before = self.connections
        self.attempts.clear()
        self.watching = True
        try:
            yield
        finally:
            self.watching = False
        assert [attempt for attempt in self.attempts if not any(host in attempt for host in but)] == []
        assert self.connections == before


@pytest.fixture(scope="module")
def trap() -> Iterator[Trap]:
    trap = Trap()
    sys.addaudithook(trap.hear)
    yield trap
    trap.close()


@pytest.fixture
async def friend() -> AsyncIterator[Receiver]:
    async with Receiver(host=FRIEND) as friend:
        yield friend


async def attempt(url: str, *answers: str, allowed: str = "") -> str:
    """The label that the attempt fails with; `answers` are what any name resolves to."""
    networks = parse_networks(allowed)
    resolver = Resolver(lambda _, port: [info(answer, port) for answer in answers]) if answers else None
    async with Sender(networks, deadline=2.0, resolver=resolver, tls=PAIR.client()) as sender:
        with pytest.raises(DeliveryError) as caught:
            await sender.post(url, b"{}", {})
    return caught.value.label


def test_the_table_is_as_long_as_it_should_be():
    """At least 500 rows: hosts in URLs and answers of a resolver."""
    assert len(HOSTS) >= 500
    assert len(LITERALS) >= 250


@pytest.mark.parametrize("host", HOSTS)
async def test_a_host_in_the_url(trap, host):
    """Spelled in any way, it is refused before a socket exists."""
    with trap.unvisited():
        assert await attempt(f"http://{host}:{trap.port}/") in {"forbidden_address", "dns", "config"}


@pytest.mark.parametrize("address", LITERALS)
async def test_an_answer_of_the_resolver(trap, address):
    """A harmless name does not make a forbidden address harmless."""
    with trap.unvisited():
        label = await attempt(f"http://hook.example.org:{trap.port}/", address)
    assert label == "forbidden_address"


@pytest.mark.parametrize("address", LITERALS)
def test_the_rule_itself(address):
    """Every forbidden address has a reason that can be shown."""
    assert forbidden(address)


@pytest.mark.parametrize("address", PERMITTED)
def test_the_neighbours_are_permitted(address):
    """The list ends where the networks end."""
    assert forbidden(address) is None


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_several_answers_all_forbidden(trap, scheme):
    """Each of them is looked at, in either family and with either scheme."""
    answers = ("127.0.0.1", "::1", "10.0.0.1", "::ffff:127.0.0.1", "169.254.169.254", "64:ff9b::7f00:1")
    with trap.unvisited():
        assert await attempt(f"{scheme}://hook.test:{trap.port}/", *answers) == "forbidden_address"


async def test_several_answers_one_permitted(trap, friend):
    """The permitted one is used, wherever it stands, and the others are not even tried."""
    for answers in (("127.0.0.1", "::1", FRIEND), (FRIEND, "127.0.0.1"), ("::1", FRIEND, "10.0.0.1")):
        resolver = Resolver(lambda _, port, answers=answers: [info(answer, port) for answer in answers])
        async with Sender(
            parse_networks(FRIEND), deadline=2.0, resolver=resolver, tls=PAIR.client()
        ) as sender:
            with trap.unvisited(but=(FRIEND,)):
                reply = await sender.post(f"http://hook.test:{friend.port}/", b"{}", {})
        assert reply.status == 200


async def test_a_name_that_changes_its_answer(trap, friend):
    """First permitted, then not: what is connected is what was checked, every time, cached or not."""
    turns = iter(range(100))
    resolver = Resolver(lambda _, port: [info(FRIEND if next(turns) % 2 == 0 else "127.0.0.1", port)])
    async with Sender(parse_networks(FRIEND), deadline=2.0, resolver=resolver, tls=PAIR.client()) as sender:
        labels = []
        for _ in range(20):
            sender._session.connector.clear_dns_cache()
            with trap.unvisited(but=(FRIEND,)):
                try:
                    headers = {"Connection": "close"}
                    labels.append(
                        (await sender.post(f"http://hook.test:{friend.port}/", b"{}", headers)).status
                    )
                except DeliveryError as error:
                    labels.append(error.label)
    assert labels == [200, "forbidden_address"] * 10
    assert len(friend.journal.received) == 10


async def test_a_redirect_is_not_followed(trap, friend):
    """It is an answer like any other."""
    targets = [
        f"http://127.0.0.1:{trap.port}/",
        f"http://localhost:{trap.port}/",
        f"//[::1]:{trap.port}/",
        "/",
    ]
    async with Sender(parse_networks(FRIEND), deadline=2.0, tls=PAIR.client()) as sender:
        for target in targets:
            with trap.unvisited(but=(FRIEND,)):
                reply = await sender.post(f"{friend.url}/redirect?to={target}", b"{}", {})
            assert reply.status == 302
    assert len(friend.journal.received) == len(targets)


@pytest.mark.parametrize(
    "variable", ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"]
)
async def test_proxies_of_the_environment_are_ignored(trap, friend, monkeypatch, variable):
    """A proxy would resolve and connect in our place, without any check."""
    monkeypatch.setenv(variable, f"http://127.0.0.1:{trap.port}")
    monkeypatch.setenv("NO_PROXY", "")
    async with Sender(parse_networks(FRIEND), deadline=2.0, tls=PAIR.client()) as sender:
        with trap.unvisited(but=(FRIEND,)):
            assert (await sender.post(f"{friend.url}/", b"{}", {})).status == 200


async def test_the_connection_for_other_protocols_is_checked_too(trap):
    """Mail servers of channels are targets like any other."""
    async with Sender(deadline=2.0, tls=PAIR.client()) as sender:
        for host in ("127.0.0.1", "localhost", "::1", "2130706433", "0x7f.1", "::ffff:127.0.0.1"):
            with trap.unvisited(), pytest.raises(DeliveryError) as caught:
                await sender.connect(host, trap.port)
            assert caught.value.label in {"forbidden_address", "dns"}


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0x7f.1", "127.1.2.3"]
)
async def test_the_traps_work(trap, host):
    """Control: with permission, the same spellings do reach the listener."""
    if ":" in host and not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6")
    before = trap.connections
    assert await attempt(f"http://{host}:{trap.port}/", allowed="127.0.0.0/8, ::1") == "disconnected"
    assert trap.connections == before + 1

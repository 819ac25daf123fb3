"""Which server `mishpulse up` embeds, and that there is one at a time per folder."""

import asyncio
import os
import sys
from ctypes.util import find_library
from pathlib import Path

import pytest
from waiting import wait_until

from services import embedded
from services.embedded import Binary, Embedded, find_binary
from shared.errors import PulseError


def fake(folder: Path, name: str, version: str, malloc: str = "malloc=own") -> Path:
    """A server on the PATH that only tells its version and its allocator."""
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{name} v={version} sha=0 {malloc} bits=64'\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder of the PATH."""
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def test_the_package_comes_first(path: Path) -> None:
    """The Valkey of the package is taken, although there is one on the PATH."""
    fake(path, "valkey-server", "9.9.9")
    assert find_binary().path == embedded._packaged()


@pytest.mark.parametrize("name", ["valkey-server", "redis-server"])
def test_without_the_package_the_path_serves(name: str, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A valkey-server or redis-server of the PATH does it then."""
    monkeypatch.setattr(embedded, "_packaged", lambda: None)
    found = fake(path, name, "7.0.15")
    assert find_binary().path == str(found)


def test_a_binary_that_does_not_run_is_passed_over(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package for another libc does not keep the PATH's server from being used."""
    monkeypatch.setattr(embedded, "_packaged", lambda: str(path / "missing"))
    found = fake(path, "redis-server", "7.2.4")
    assert find_binary().path == str(found)


def test_a_server_that_is_too_old_is_named(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sentence says what was found and what to install."""
    monkeypatch.setattr(embedded, "_packaged", lambda: None)
    old = fake(path, "redis-server", "6.0.16")
    with pytest.raises(PulseError, match="install Redis") as found:
        find_binary()
    assert f"{old} is too old" in str(found.value)


def test_no_server_at_all(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sentence says what to install, and the way without."""
    monkeypatch.setattr(embedded, "_packaged", lambda: None)
    with pytest.raises(PulseError, match="--redis-url"):
        find_binary()


@pytest.fixture
def valkey(tmp_path: Path) -> Embedded:
    """An embedded server, not started yet."""
    (tmp_path / "run").mkdir()
    return Embedded(find_binary(), tmp_path, tmp_path / "run")


async def test_a_leftover_server_is_ended_first(valkey: Embedded) -> None:
    """Where the kernel did not end it with its supervisor, the next start asks it to end."""
    first = await valkey.spawn()
    await wait_until(valkey.answers, "the first answers")
    second = await valkey.spawn()
    assert await first.wait() == 0
    await wait_until(valkey.answers, "the second answers")
    second.terminate()
    assert await second.wait() == 0


async def test_a_server_that_cannot_start_says_why(valkey: Embedded, tmp_path: Path) -> None:
    """Its last words are kept for the supervisor's one line."""
    (tmp_path / "appendonlydir").mkdir()
    (tmp_path / "appendonlydir" / "appendonly.aof.manifest").write_text("nonsense\n")
    process = await valkey.spawn()
    assert await process.wait() != 0
    await wait_until(lambda: valkey.said, "it said something")
    assert "AOF" in " ".join(valkey.said)


async def test_it_keeps_every_promise_of_redis_conf(valkey: Embedded) -> None:
    """What deploy/redis.conf sets for Compose holds here too."""
    options = embedded.options(valkey.binary, valkey.data, valkey.socket)
    given = dict(zip(options[::2], options[1::2], strict=True))
    own_ways = {"bind", "protected-mode", "dir"}
    for line in (Path(__file__).parents[2] / "deploy" / "redis.conf").read_text().splitlines():
        name, _, value = line.partition(" ")
        if name and not name.startswith("#") and name not in own_ways:
            assert given[f"--{name}"] == value.strip('"'), name
    assert given["--port"] == "0"
    assert os.fsencode(given["--unixsocket"])


@pytest.mark.parametrize(
    ("said", "knows"),
    [("Valkey server v=9.1.2 ", True), ("Valkey server v=7.2.8 ", False), ("Redis server v=8.0.1 ", False)],
)
def test_what_only_valkey_knows_is_told_to_valkey(said: str, knows: bool) -> None:
    """Another server does not start with a setting that it does not know."""
    assert ("--prefetch-batch-max-size" in embedded.tuning(Binary("", said))) == knows


def test_an_operators_own_tunables_come_after_ours(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that they win where both name the same."""
    server = Binary.at(str(fake(path, "valkey-server", "9.1.2")))
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.arena_max=1")
    assert embedded.environment(server)["GLIBC_TUNABLES"] == f"{embedded.TUNABLES}:glibc.malloc.arena_max=1"
    monkeypatch.delenv("GLIBC_TUNABLES")
    assert embedded.environment(server)["GLIBC_TUNABLES"] == embedded.TUNABLES


@pytest.mark.skipif(sys.platform != "linux", reason="LD_PRELOAD is Linux's")
class TestAllocator:
    """A server that was made with the C library's allocator is given jemalloc."""

    @pytest.fixture(autouse=True)
    def installed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The machine has jemalloc, and the operator preloads nothing."""
        monkeypatch.setattr("ctypes.util.find_library", lambda name: f"lib{name}.so.2")
        monkeypatch.delenv("LD_PRELOAD", raising=False)

    def test_it_is_preloaded(self, path: Path) -> None:
        """By its name, as the machine finds it."""
        server = fake(path, "valkey-server", "9.1.2", "malloc=libc")
        assert embedded.environment(Binary.at(str(server)))["LD_PRELOAD"] == "libjemalloc.so.2"

    def test_a_server_that_brings_its_own_is_left_alone(self, path: Path) -> None:
        """As Debian's Redis does."""
        server = fake(path, "redis-server", "7.0.15", "malloc=jemalloc-5.3.0")
        assert "LD_PRELOAD" not in embedded.environment(Binary.at(str(server)))

    def test_an_operators_own_is_left_alone(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Two allocators are one too many."""
        server = fake(path, "valkey-server", "9.1.2", "malloc=libc")
        monkeypatch.setenv("LD_PRELOAD", "libc.so.6")
        assert embedded.environment(Binary.at(str(server)))["LD_PRELOAD"] == "libc.so.6"

    def test_one_that_starts_nothing_is_not_taken(self, path: Path) -> None:
        """A jemalloc made for another page size ends every program."""
        server = fake(path, "valkey-server", "9.1.2", "malloc=libc")
        server.write_text(server.read_text().replace("echo", '[ -z "$LD_PRELOAD" ] || exit 134\necho'))
        assert "LD_PRELOAD" not in embedded.environment(Binary.at(str(server)))

    def test_without_it_the_tunables_do(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The machine has none."""
        monkeypatch.setattr("ctypes.util.find_library", lambda _: None)
        server = fake(path, "valkey-server", "9.1.2", "malloc=libc")
        assert "LD_PRELOAD" not in embedded.environment(Binary.at(str(server)))


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
async def test_the_server_runs_with_the_machines_jemalloc(valkey: Embedded) -> None:
    """Where it is installed; without it elsewhere."""
    process = await valkey.spawn()
    await wait_until(valkey.answers, "it answers")
    mapped = await asyncio.to_thread(Path(f"/proc/{process.pid}/maps").read_text)
    process.terminate()
    assert await process.wait() == 0
    assert ("jemalloc" in mapped) == bool(find_library("jemalloc"))

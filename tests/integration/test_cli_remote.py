"""The verbs against a whole `mishpulse up`: by HTTP with a token, by its data folder, on a terminal."""

import asyncio
import contextlib
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from console import Console
from doubles.receiver import Receiver
from group import Up, environment, get, mishpulse
from waiting import wait_for

TOKEN = "admin-token-of-tests"


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """A group with a known admin token that may send to loopback."""
    extra = {"PULSE_ADMIN_TOKEN": TOKEN, "PULSE_ALLOW_PRIVATE_TARGETS": "127.0.0.0/8"}
    up = Up(tmp_path_factory.mktemp("u") / "data", extra=extra)
    try:
        yield up.start()
    finally:
        up.stop()


@pytest.fixture(params=["http", "folder"])
def pulse(up: Up, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Console:
    """The same verbs both ways."""
    if request.param == "http":
        return Console({"PULSE_URL": f"http://127.0.0.1:{up.port}", "PULSE_ADMIN_TOKEN": TOKEN})
    monkeypatch.chdir(up.data.parent)  # where `data` is found by itself
    return Console()


def test_every_list_and_the_way_of_a_monitor(pulse: Console, up: Up) -> None:
    """What one way makes, the other shows."""
    made = pulse.json("monitors", "add", "worker")
    assert made["heartbeat_url"] == f"http://127.0.0.1:{up.port}/api/heartbeat/{made['token']}"
    other = Console().json("monitors", "show", made["id"], "--data", up.data)
    assert other["name"] == "worker"
    assert [made["name"], "new", ""] in pulse.ok("status").rows
    for noun in ("channels", "webhooks", "tokens"):
        assert pulse.ok(noun, "list").code == 0
    pulse.ok("events", "send", "payment.completed", '{"order": 7}')
    text = "monitors: [{name: applied, timeout: 5m}]\n"
    assert len(pulse.json("apply", "-", stdin=text)["steps"]) == 1
    assert pulse.json("apply", "-", stdin=text)["steps"] == []
    for name in ("worker", "applied"):
        pulse.ok("monitors", "rm", name)
    assert pulse("monitors", "rm", "worker").code == 1


async def test_tests_are_sent_for_real(pulse: Console) -> None:
    """Exit status 0 when the receiver accepted, 1 with its answer when not."""
    async with Receiver() as receiver:
        for path, code in (("/", 0), ("/status/400", 1)):
            url = f"{receiver.url}{path}"
            channel = ("channels", "add", "c", "--type", "webhook", "--set", f"url={url}")
            webhook = ("webhooks", "add", "w", url, "--event-type", "a.b")
            for noun, made in (("channels", channel), ("webhooks", webhook)):
                number = (await asyncio.to_thread(pulse.json, *made))["id"]
                done = await asyncio.to_thread(pulse, noun, "test", number)
                assert done.code == code, done
                assert bool(done.err) == bool(code)
                done = await asyncio.to_thread(pulse, noun, "test", number, "--json")
                assert (done.code, done.out[0]) == (code, "{")
                await asyncio.to_thread(pulse.ok, noun, "rm", number)


def test_a_wrong_token_or_address(up: Up) -> None:
    """401 is wrong use, nobody there a failure; the status list needs no token."""
    url = f"http://127.0.0.1:{up.port}"
    assert Console()("monitors", "list", "--url", url, "--token", "wrong").code == 2
    assert Console()("monitors", "list", "--url", url).code == 2
    assert Console()("status", "--url", url).code == 0
    done = Console()("monitors", "list", "--url", "http://127.0.0.1:1")
    assert done.code == 1
    assert "no answer from http://127.0.0.1:1" in done.err
    assert Console()("monitors", "list", "--url", "ftp://x").code == 2
    assert Console()("monitors", "list", "--url", f"{url}/healthz?", "--token", TOKEN).code in (1, 2)


def test_export_into_an_empty_server(up: Up, tmp_path: Path) -> None:
    """`mishpulse export | mishpulse import`: a second group has the same afterwards, its doctor is content."""
    pulse = Console()
    pulse.ok("tokens", "add", "reader", "--scope", "read", "--data", up.data)
    made = pulse.json("monitors", "add", "moved", "--data", up.data)
    text = pulse.ok("export", "--with-secrets", "--data", up.data).out
    second = Up(tmp_path / "second", extra=up.extra).start()
    try:
        pulse.ok("import", "-", "--data", second.data, stdin=text)
        assert pulse.ok("export", "--with-secrets", "--data", second.data).out == text
        assert get(second.port, f"/api/heartbeat/{made['token']}") == (200, '{"result": "ok"}')
        done = pulse.ok("doctor", "--data", second.data)
        assert ["collector", "ok", "listens", ""] in done.rows
    finally:
        assert second.stop() == 0
    assert pulse("doctor", "--data", second.data).code == 2


def on_a_terminal(arguments: list[str]) -> tuple[int, subprocess.Popen[bytes]]:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "services.cli", *arguments],
        env=environment(COLUMNS="120", LINES="30", TERM="xterm"),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    os.set_blocking(ours, False)
    return ours, process


def test_status_is_live_on_a_terminal(up: Up) -> None:
    """A monitor that is made later appears by itself; Ctrl-C ends it with status 0."""
    pulse = Console({"PULSE_URL": f"http://127.0.0.1:{up.port}", "PULSE_ADMIN_TOKEN": TOKEN})
    pulse.ok("monitors", "add", "first")
    url = f"http://127.0.0.1:{up.port}"
    terminal, process = on_a_terminal(["status", "--every", "0.2", "--url", url])
    parts: list[bytes] = []

    def screen() -> str:
        with contextlib.suppress(BlockingIOError):
            parts.append(os.read(terminal, 65536))
        return b"".join(parts).decode(errors="replace")

    try:
        wait_for(lambda: "first" in screen(), "the table is there", 20)
        pulse.ok("monitors", "add", "later-one")
        wait_for(lambda: "later-one" in screen(), "the table follows", 20)
        assert "name" in screen()
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait()
        os.close(terminal)


def test_lists_are_tables_on_a_terminal(up: Up) -> None:
    """With a head, and JSON on several lines for whoever reads it."""
    pulse = Console({"PULSE_URL": f"http://127.0.0.1:{up.port}", "PULSE_ADMIN_TOKEN": TOKEN})
    pulse.ok("monitors", "add", "[bold]shown[/bold]")
    for arguments, told in ((["monitors", "list"], "last seen"), (["monitors", "list", "--json"], "  {")):
        shown = until_ended([*arguments, "--data", str(up.data)])
        assert "[bold]shown[/bold]" in shown
        assert told in shown


def until_ended(arguments: list[str]) -> str:
    """All that a command that succeeds puts on the terminal."""
    terminal, process = on_a_terminal(arguments)
    parts: list[bytes] = []

    def ended() -> bool:
        gone = process.poll() is not None
        with contextlib.suppress(OSError):  # nothing now, or nobody holds its other end any more
            while part := os.read(terminal, 65536):
                parts.append(part)
        return gone

    wait_for(ended, "it has ended", 20)
    os.close(terminal)
    assert process.returncode == 0
    return b"".join(parts).decode()


def test_completion_is_there_for_each_shell() -> None:
    """Typer's scripts, and its answers to them."""
    for shell in ("bash", "zsh", "fish"):
        told = mishpulse("--show-completion", shell) if shell != "bash" else None
        asked = mishpulse(
            _MISHPULSE_COMPLETE=f"complete_{shell}",
            COMP_WORDS="mishpulse mon",
            COMP_CWORD="1",
            _TYPER_COMPLETE_ARGS="mishpulse mon",
            _TYPER_COMPLETE_FISH_ACTION="get-args",
        )
        assert "monitors" in asked.stdout, asked
        assert told is None or told.returncode in (0, 2)


def test_the_service_called_webhooks_still_starts() -> None:
    """`mishpulse webhooks --port …` is the service, `mishpulse webhooks list` the verb."""
    told = mishpulse("webhooks", "--help").stdout
    assert "--port" in told
    assert "list" in told
    done = mishpulse("webhooks", "--port", "0", PULSE_REDIS_URL="redis://127.0.0.1:1/0")
    assert done.returncode == 1
    assert "does not answer" in done.stderr

"""`mishpulse up`: one command, one port, and nothing left behind, however it ends."""

import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from group import PROCESSES, Up, environment, free_port, get, lives, mishpulse
from waiting import wait_for

CHILDREN = {*PROCESSES, "valkey"}


@pytest.fixture(scope="module")
def group(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """A running group that the tests of this module share."""
    up = Up(tmp_path_factory.mktemp("up") / "data", arguments=("--demo",)).start()
    yield up
    assert up.stop() == 0, up.output


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    """A group of a test's own, not started yet."""
    up = Up(tmp_path / "data")
    yield up
    up.stop()


def lines_of(done: subprocess.CompletedProcess[str]) -> list[str]:
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    return done.stderr.splitlines()


def test_every_process_runs(group: Up) -> None:
    """Valkey, one HTTP process and one process per worker."""
    assert set(group.pids()) == CHILDREN


@pytest.mark.skipif(sys.platform != "linux", reason="schedulers of Linux")
def test_workers_take_no_core_from_who_answers(group: Up) -> None:
    """They wake up as batch processes; the server and the one that takes heartbeats do not."""
    found = {name: os.sched_getscheduler(pid) for name, pid in group.pids().items()}
    assert {name for name, policy in found.items() if policy == os.SCHED_BATCH} == CHILDREN - {
        "http",
        "valkey",
    }


def test_health_is_answered_on_the_one_port(group: Up) -> None:
    """/healthz and /readyz are 200, and no answer names the server's software."""
    assert get(group.port, "/healthz")[0] == 200
    assert get(group.port, "/readyz")[0] == 200
    with socket.create_connection(("127.0.0.1", group.port)) as connection:
        connection.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
        assert b"server:" not in connection.recv(4096).lower()


def test_the_admin_token_and_the_demo_are_told(group: Up) -> None:
    """A first start prints the admin token and the line that beats the demo monitor, which works as it stands."""
    assert len(group.told(r"admin token.*: (\S+)")) > 20
    line = group.told(r"beat the demo monitor: curl -fsS -X POST (\S+)")
    assert get(group.port, line.removeprefix(f"http://127.0.0.1:{group.port}"), method="POST") == (
        200,
        '{"result": "ok"}',
    )
    assert '"name": "demo"' in get(group.port, "/api/status")[1].replace('":"', '": "')


def test_the_key_is_made_for_the_owner_alone(group: Up) -> None:
    """Secrets' key and the demo's token are nobody else's to read."""
    for name in ("secret.key", "demo.token"):
        assert stat.S_IMODE((group.data / name).stat().st_mode) == 0o600
    for name in ("run", "appendonlydir"):
        assert stat.S_IMODE((group.data / name).stat().st_mode) == 0o700


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not installed here")
def test_metrics_of_the_group_pass_promtool(group: Up) -> None:
    """/metrics shows every process of the group and passes promtool."""
    status, text = get(group.port, "/metrics")
    assert status == 200
    for name in PROCESSES:
        assert f'service="{name}"' in text
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=text, text=True, capture_output=True, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_no_token_reaches_the_log(group: Up) -> None:
    """Neither a path's token nor a WebSocket's query is ever logged."""
    secret = "geheim-1234567890"
    get(group.port, f"/api/heartbeat/{secret}", method="POST")
    with socket.create_connection(("127.0.0.1", group.port), timeout=5) as connection:
        connection.sendall(
            f"GET /ws?token={secret} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
        )
        connection.recv(4096)
    assert secret not in group.output


def test_a_second_group_on_the_same_data_is_refused(group: Up) -> None:
    """One line says that the folder is taken; the first group is not disturbed."""
    done = mishpulse("up", "--data", str(group.data), "--port", str(free_port()))
    assert done.returncode == 1
    (line,) = lines_of(done)
    assert "another `mishpulse up` runs on" in line
    assert get(group.port, "/readyz")[0] == 200


def test_a_busy_port_is_named(group: Up, tmp_path: Path) -> None:
    """One line names the port, and not even the data folder was made."""
    data = tmp_path / "other"
    done = mishpulse("up", "--data", str(data), "--port", str(group.port))
    assert done.returncode == 1
    (line,) = lines_of(done)
    assert f"port {group.port} on 127.0.0.1 is in use" in line
    assert not data.exists()


def test_an_unwritable_folder_is_named(tmp_path: Path) -> None:
    """One line names the folder and why."""
    (tmp_path / "file").write_text("")
    done = mishpulse("up", "--data", str(tmp_path / "file" / "data"), "--port", str(free_port()))
    assert done.returncode == 1
    (line,) = lines_of(done)
    assert "cannot be written" in line


def test_an_unreachable_redis_is_named(tmp_path: Path) -> None:
    """One line names the address, without its password; nothing was started."""
    url = f"redis://user:geheim@127.0.0.1:{free_port()}/0"
    done = mishpulse("up", "--redis-url", url, "--data", str(tmp_path / "data"), "--port", str(free_port()))
    assert done.returncode == 1
    (line,) = lines_of(done)
    assert "does not answer" in line
    assert "geheim" not in line


def test_bad_settings_are_named_all_at_once(tmp_path: Path) -> None:
    """Each bad setting has its line, by its environment name; exit status 2."""
    done = mishpulse("up", "--data", str(tmp_path / "d"), PULSE_SHARDS="0", PULSE_LOG_LEVEL="loud")
    assert done.returncode == 2
    lines = lines_of(done)
    assert len(lines) == 2
    assert any("PULSE_SHARDS" in line for line in lines)
    assert any("PULSE_LOG_LEVEL" in line for line in lines)
    assert not (tmp_path / "d").exists()


def test_without_a_terminal_the_log_is_json(group: Up) -> None:
    """Each line that is not one of the announcements is a JSON object."""
    announced = ("MishPulse ", "admin token", "beat the demo")
    rest = [line for line in group.output.splitlines() if not line.startswith(announced)]
    assert rest
    assert all(line.startswith("{") and line.endswith("}") for line in rest)


@pytest.mark.parametrize("name", sorted(CHILDREN))
def test_a_killed_process_is_started_again(group: Up, name: str) -> None:
    """Whichever process is killed comes back, and the group is ready again."""
    before = group.pids()[name]
    os.kill(before, signal.SIGKILL)
    wait_for(lambda: group.pids().get(name, before) != before, f"{name} runs again", 10)
    wait_for(lambda: get(group.port, "/readyz", timeout=1)[0] == 200, "it is ready again", 10)


def test_a_restart_of_http_refuses_no_connection(group: Up) -> None:
    """The supervisor holds the port: who comes while the HTTP process is away waits and is answered."""
    os.kill(group.pids()["http"], signal.SIGKILL)
    assert get(group.port, "/healthz", timeout=10)[0] == 200


def test_it_stops_cleanly_and_keeps_its_data(up: Up) -> None:
    """SIGTERM ends everything within 10 s; the next start knows the monitor and tells no second token."""
    up.arguments = ("--demo",)
    up.start()
    pids = [up.process.pid, *up.pids().values()]
    began = time.monotonic()
    assert up.stop() == 0
    assert time.monotonic() - began < 10
    assert not any(lives(pid) for pid in pids)
    line = up.told(r"beat the demo monitor: (.*)")
    up.start()
    assert up.output.count("admin token") == 1
    assert up.output.count(line) == 2


def test_a_killed_supervisor_leaves_no_orphans(up: Up) -> None:
    """Its processes end by themselves, and the next start on the same data and port works at once."""
    up.start()
    pids = up.pids()
    up.process.kill()
    up.process.wait()
    up.start()
    assert set(up.pids()) == CHILDREN
    wait_for(lambda: not any(lives(pid) for pid in pids.values()), "the old processes are gone", 10)


def test_a_killed_group_starts_again_on_the_same_data(up: Up) -> None:
    """After kill -9 of the whole group nothing acknowledged is lost."""
    up.arguments = ("--demo",)
    up.start()
    beat = up.told(r"curl .*(/api/heartbeat/\S+)")
    assert get(up.port, beat, method="POST")[0] == 200
    up.kill()
    up.start()
    assert '"alive"' in get(up.port, "/api/status")[1]
    assert get(up.port, beat, method="POST")[0] == 200


def test_a_signal_during_the_start_ends_it(up: Up) -> None:
    """SIGTERM before it is ready leaves nothing running either."""
    up.start(wait=False)
    wait_for(lambda: "valkey" in up.pids(), "Valkey runs", 10)
    pids = list(up.pids().values())
    assert up.stop() == 0
    assert not any(lives(pid) for pid in pids)


def test_a_named_redis_is_used_and_left_alone(group: Up, up: Up) -> None:
    """With --redis-url nothing is embedded, and the server goes on when the group ends."""
    up.arguments = ("--redis-url", f"unix://{group.data}/run/valkey.sock?db=0")
    up.start()
    assert set(up.pids()) == set(PROCESSES)
    assert not (up.data / "appendonlydir").exists()
    assert up.stop() == 0
    assert get(group.port, "/readyz")[0] == 200


def test_a_long_path_gets_a_short_socket(up: Up) -> None:
    """A data folder deeper than a unix socket's path may be works all the same."""
    up.data = up.data / ("long-" * 12) / ("folder-" * 10)
    up.data.parent.mkdir(parents=True)
    up.start()
    assert get(up.port, "/readyz")[0] == 200


def test_odd_characters_in_the_path(up: Up) -> None:
    """A socket's path is quoted in its URL."""
    up.data = up.data.with_name("d #1?%20&")
    up.start()
    assert get(up.port, "/readyz")[0] == 200


def test_data_that_valkey_refuses_are_explained(up: Up) -> None:
    """Valkey's own last words are in the one line, and nothing keeps running."""
    (up.data / "appendonlydir").mkdir(parents=True)
    (up.data / "appendonlydir" / "appendonly.aof.manifest").write_text("nonsense\n")
    done = mishpulse("up", "--data", str(up.data), "--port", str(up.port))
    assert done.returncode == 1
    assert "the embedded Valkey did not start: " in done.stderr.splitlines()[-1]
    assert get(up.port, "/healthz")[0] == 0


def test_on_a_terminal_it_shows_what_runs(tmp_path: Path) -> None:
    """A table of the processes, the address, and readable log lines instead of JSON."""
    up = Up(tmp_path / "data")
    seen, process = up.on_a_terminal()
    wait_for(lambda: "Ctrl-C stops it" in seen(), "it shows what runs", 20)
    for name in CHILDREN:
        assert name in seen()
    assert f"http://127.0.0.1:{up.port}" in seen()
    process.send_signal(signal.SIGINT)
    assert process.wait(15) == 0
    assert '{"' not in seen()
    assert "Traceback" not in seen()


def test_a_foreign_services_folder_is_not_imported(tmp_path: Path) -> None:
    """The processes run the supervisor's code, whatever lies in the folder where it was started."""
    (tmp_path / "services").mkdir()
    (tmp_path / "services" / "__init__.py").write_text("raise SystemExit('the wrong package')")
    up = Up(tmp_path / "data")
    code = "import sys; sys.path.pop(0); from services.cli import main; sys.argv[1:] = {!r}; main()"
    arguments = ["up", "--data", str(up.data), "--port", str(up.port)]
    process = subprocess.Popen(
        [sys.executable, "-c", code.format(arguments)],
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_for(lambda: get(up.port, "/readyz", timeout=1)[0] == 200, "it is ready", 20)
    process.terminate()
    assert process.wait(15) == 0

"""The command line: single services, the key, health, and how wrong use ends."""

import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from group import environment, free_port, get, mishpulse
from servers import Server
from waiting import wait_for

from services import cli

HTTP = ("collector", "webhooks", "admin")
WORKERS = ("watchdog", "notifier", "webhooks-worker")


@pytest.mark.parametrize("found", [(3, 10, 9), (3, 14, 0)])
def test_a_python_out_of_range_is_refused(
    found: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One sentence names the Pythons that do."""
    monkeypatch.setattr(sys, "version_info", found)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert f"3.11, 3.12 or 3.13; this is 3.{found[1]}" in str(ended.value)


def test_cli_can_be_parsed_by_an_old_python() -> None:
    """The file that checks the version uses nothing newer than what it must refuse."""
    source = Path(cli.__file__).read_text()
    compile(source, "cli.py", "exec", dont_inherit=True)
    import ast  # noqa: PLC0415

    ast.parse(source, feature_version=(3, 7))


def test_version_and_help() -> None:
    """--version prints name and version; without a verb the help says which there are."""
    assert mishpulse("--version").stdout.startswith("mishpulse ")
    told = mishpulse("--help").stdout
    for verb in ("up", *HTTP, *WORKERS, "init-key", "health"):
        assert verb in told
    assert "child" not in told


def test_an_unknown_verb_is_wrong_use() -> None:
    """Exit status 2 and one sentence, no traceback."""
    done = mishpulse("colector")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "colector" in done.stderr


@pytest.mark.parametrize("service", ["collector", "watchdog"])
def test_an_unreachable_redis_ends_a_service(service: str) -> None:
    """One clear line and exit status 1, so that whoever supervises starts it again."""
    port = ["--port", str(free_port())] if service in HTTP else []
    done = mishpulse(service, *port, PULSE_REDIS_URL=f"redis://:geheim@127.0.0.1:{free_port()}/0")
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if not line.startswith("{")]
    assert "does not answer" in line
    assert "geheim" not in done.stderr


def test_bad_settings_end_a_service() -> None:
    """Every bad setting is named by its environment name; exit status 2."""
    done = mishpulse("watchdog", PULSE_REDIS_URL="http://x", PULSE_SWEEP_INTERVAL="never")
    assert done.returncode == 2
    lines = done.stderr.splitlines()
    assert len(lines) == 2
    assert all(line.startswith("mishpulse: PULSE_") for line in lines)


def test_data_of_another_shape_end_a_service(server: Server) -> None:
    """A number of shards that the data do not have is a wrong setting."""
    import redis  # noqa: PLC0415

    with redis.Redis.from_url(server.url) as client:
        client.flushall()
        client.hset("mp:{c}:schema", mapping={"version": 1, "shards": 4})
        done = mishpulse("watchdog", PULSE_REDIS_URL=server.url, PULSE_SHARDS="1")
        client.flushall()
    assert done.returncode == 2
    assert "set it to 4" in done.stderr


def test_init_key_makes_a_key_once(tmp_path: Path) -> None:
    """The file is its owner's alone, and a second run changes nothing."""
    path = tmp_path / "keys" / "secret.key"
    assert mishpulse("init-key", "--file", str(path)).returncode == 0
    key = path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert mishpulse("init-key", "--file", str(path)).returncode == 0
    assert path.read_text() == key
    assert key.strip() not in mishpulse("init-key", "--file", str(path)).stdout


class Service:
    """One single service as a process, with its port of health and metrics."""

    def __init__(self, name: str, server: Server, log: Path) -> None:
        self.metrics = free_port()
        self.port = free_port()
        self.log = log
        arguments = ["--port", str(self.port)] if name in HTTP else []
        settings = environment(
            PULSE_REDIS_URL=server.url,
            PULSE_METRICS_PORT=str(self.metrics),
            PULSE_SECRET_KEY="A" * 43 + "=",
        )
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "services.cli", name, *arguments],
                env=settings,
                stdout=output,
                stderr=output,
            )
        wait_for(lambda: get(self.metrics, "/readyz", timeout=1)[0] == 200, f"{name} is ready", 20)

    def stop(self, number: int = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(12)


@pytest.fixture(params=[*HTTP, *WORKERS])
def service(request: pytest.FixtureRequest, server: Server, tmp_path: Path) -> Iterator[Service]:
    """Each single service, running."""
    service = Service(request.param, server, tmp_path / "log")
    yield service
    service.stop()


def test_a_single_service_lives(service: Service) -> None:
    """It answers health and metrics on its own port, and a signal ends it with status 0 within 10 s."""
    assert get(service.metrics, "/healthz")[0] == 200
    assert get(service.metrics, "/elsewhere")[0] == 404
    status, text = get(service.metrics, "/metrics")
    assert status == 200
    assert "mishpulse_process_info{" in text
    if shutil.which("promtool"):
        done = subprocess.run(
            ["promtool", "check", "metrics"], input=text, text=True, capture_output=True, check=False
        )
        assert (done.returncode, done.stdout + done.stderr) == (0, "")
    done = mishpulse("health", PULSE_METRICS_PORT=str(service.metrics))
    assert (done.returncode, done.stdout) == (0, "ready\n")
    began = time.monotonic()
    assert service.stop(signal.SIGINT) == 0, service.log.read_text()
    assert time.monotonic() - began < 10
    assert mishpulse("health", PULSE_METRICS_PORT=str(service.metrics)).returncode == 1


def test_readyz_follows_redis(tmp_path: Path) -> None:
    """While Redis is stopped a service lives and says 503; afterwards it is ready by itself."""
    folder = tmp_path / "s"
    folder.mkdir()
    server = Server("redis", shutil.which("redis-server") or _embedded(), folder)
    server.start("--appendonly", "yes")
    service = Service("watchdog", server, tmp_path / "log")
    try:
        os.kill(server.process.pid, signal.SIGSTOP)
        assert get(service.metrics, "/readyz")[0] == 503
        assert get(service.metrics, "/healthz")[0] == 200
        os.kill(server.process.pid, signal.SIGCONT)
        wait_for(lambda: get(service.metrics, "/readyz")[0] == 200, "it is ready again", 10)
        server.stop(kill=True)
        wait_for(lambda: get(service.metrics, "/readyz")[0] == 503, "it is not ready", 10)
        assert service.process.poll() is None
        server.start("--appendonly", "yes")
        wait_for(lambda: get(service.metrics, "/readyz")[0] == 200, "it is ready again", 10)
        assert service.stop() == 0, service.log.read_text()
    finally:
        service.stop()
        server.stop()


def _embedded() -> str:
    from servers import binaries  # noqa: PLC0415

    return binaries()["valkey"]

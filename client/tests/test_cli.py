import json
import subprocess
import sys
import time

import pytest
from recorder import Answer


@pytest.fixture
def pulse(pulse_command, server, tmp_path):
    base, environment = pulse_command

    def call(*arguments, **more):
        return subprocess.run(
            [*base, *arguments],
            env={**environment, "PULSE_API_HOST": server.url, **more},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )

    return call


def test_beat(pulse, server):
    """`pulse beat TOKEN` sends ok; status and message are options; the exit status says whether it arrived."""
    assert pulse("beat", "tok").returncode == 0
    assert pulse("beat", "tok", "--status", "error", "--message", "disk full").returncode == 0
    assert [request.json for request in server.requests] == [
        {"status": "ok"},
        {"status": "error", "message": "disk full"},
    ]
    assert set(server.paths()) == {"/api/heartbeat/tok"}


def test_beat_says_what_went_wrong(pulse, server):
    """Exit status 1 and one line when it is not accepted, 2 when used wrongly."""
    server.answers = [Answer(403, b'{"detail": "Unknown token."}')]
    refused = pulse("beat", "tok")
    assert (refused.returncode, refused.stderr) == (
        1,
        "pulse: not delivered: the server answered 403: Unknown token.\n",
    )
    assert pulse("beat").returncode == 1
    assert pulse("beat", "tok", "--status", "fine").returncode == 2
    assert pulse("nonsense").returncode == 2


def test_beat_ends_by_its_timeout(pulse, server):
    """A server that hangs costs the timeout."""
    server.hang()
    began = time.monotonic()
    assert pulse("beat", "tok", "--timeout", "0.3").returncode == 1
    assert time.monotonic() - began < 2


def test_telemetry_and_its_status(pulse, server, tmp_path):
    """`pulse telemetry` sends what a function returns, once an hour; --status shows how it fared."""
    (tmp_path / "shop.py").write_text(
        "def collect():\n    return {'domain': 'shop.example', 'version': '2.0'}\n"
    )
    arguments = (
        "telemetry",
        "--collect",
        "shop:collect",
        "--field",
        "bot_username=b",
        "--version-header",
        "X-V",
    )
    secret = {"PULSE_HEARTBEAT_SECRET": "s"}
    assert pulse("telemetry", "--status").stdout == "no telemetry has been sent from this account yet\n"
    assert [pulse(*arguments, **secret).stdout for _ in range(2)] == ["sent\n", "skipped\n"]
    (request,) = server.requests
    assert request.path == "/heartbeat"
    assert request.headers["x-v"] == "2.0"
    assert (request.json["domain"], request.json["bot_username"]) == ("shop.example", "b")
    shown = pulse("telemetry", "--status")
    assert shown.returncode == 0
    assert "sent 1, skipped 1, failed 0" in shown.stdout
    assert json.loads(pulse("telemetry", "--status", "--json").stdout)[0]["sent"] == 1


def test_telemetry_that_fails(pulse):
    """Without a secret the exit status is 1 and the status names the reason; wrong use is 2."""
    failed = pulse("telemetry", "--field", "domain=shop.example")
    assert (failed.returncode, failed.stdout) == (1, "failed\n")
    assert "PULSE_HEARTBEAT_SECRET" in failed.stderr
    shown = pulse("telemetry", "--status")
    assert shown.returncode == 1
    assert "shop.example" in shown.stdout
    assert "last success never" in shown.stdout
    for wrong in ([], ["--field", "x"], ["--collect", "no_such_module:f"], ["--collect", "json:__name__"]):
        assert pulse("telemetry", *wrong).returncode == 2


def test_importing_the_package_imports_nothing_else(pulse_command):
    """Names are there, and known to tools, but cost nothing before their first use."""
    program = (
        "import sys, mishpulse_client as m; before = 'socket' in sys.modules\n"
        "assert not before; assert all(getattr(m, name) for name in m.__all__); assert m.__version__\n"
        "try: m.nonsense\n"
        "except AttributeError: print('fine')"
    )
    _, environment = pulse_command
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("fine\n", "")

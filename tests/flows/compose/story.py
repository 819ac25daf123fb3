"""docker-compose.yml end to end, with a real engine: `make compose-test`.

Brings the containers up under a project name of their own, lives through a day of an operator, and takes them down
again with their volumes, whatever happens. Needs `docker compose`. Its port is PULSE_PORT; unset: 8080, or a
free one when that is taken.
"""

import contextlib
import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable

from stack import (
    EDGE,
    PROMETHEUS_PORT,
    TOKEN,
    add_channel,
    add_monitor,
    admin,
    beat,
    compose,
    containers,
    down,
    inside,
    inspected,
    received,
    request,
    statuses,
    told,
    wait_until,
)
from websockets.sync.client import connect

OURS = ("collector", "watchdog", "notifier", "webhooks", "webhooks-worker", "admin")
PATIENCE = 10
"""Seconds of silence allowed to a program that beats through every stop and start."""
MONITORS: dict[str, dict] = {}


def comes_up() -> str:
    """`up -d --build --wait` ends with everything healthy, and nothing had to be started twice."""
    compose("up", "-d", "--build", "--wait", timeout=1200)
    again = {known["Name"]: known["RestartCount"] for known in map(inspected, containers())}
    assert not any(again.values()), f"not at the first start: {again}"
    return f"{len(containers())} containers"


def is_hardened() -> str:
    """Our containers run as no root, on a read-only root, without capabilities and new privileges."""
    for container in containers(*OURS):
        known = inspected(container)
        host = known["HostConfig"]
        assert known["Config"]["User"] not in ("", "0", "root"), known["Name"]
        assert host["ReadonlyRootfs"], known["Name"]
        assert host["CapDrop"] == ["ALL"], known["Name"]
        assert "no-new-privileges:true" in host["SecurityOpt"], known["Name"]
    return f"{len(containers(*OURS))} containers"


def keeps_its_own_to_itself() -> str:
    """Metrics and health checks are not on the edge; errors there are JSON sentences."""
    for path in ("/metrics", "/healthz", "/readyz"):
        status, answer = request("GET", path)
        assert (status, list(answer)) == (404, ["detail"]), path
    status, answer = request("GET", "/webhooks")
    assert status != 502, answer
    return "404"


def tells_of_silence_and_recovery() -> str:
    """A beaten monitor that falls silent is told as dead, and then as recovered."""
    channel = add_channel("/first")
    monitor = MONITORS["first"] = add_monitor("first", 2, channel)
    for _ in range(3):
        time.sleep(0.3)
        beat(monitor)
    last = time.monotonic()
    wait_until(lambda: told("/first", "monitor.dead"), "the dead message")
    after = time.monotonic() - last
    assert statuses()["first"] == "dead"
    beat(monitor)
    wait_until(lambda: told("/first", "monitor.recovered"), "the recovery message")
    admin("POST", f"/api/monitors/{monitor['id']}/pause")
    return f"dead message at most {after:.1f} s after the last beat (timeout 2 s)"


def carries_live_events() -> str:
    """A WebSocket through the edge hears of a heartbeat as it happens."""
    monitor = MONITORS["live"] = add_monitor("live", 3600, add_channel("/live"))
    with connect(f"{EDGE.replace('http', 'ws')}/ws?token={TOKEN}&events=monitor.*") as socket:
        assert json.loads(socket.recv(timeout=10))["type"] == "connection"
        begun = time.monotonic()
        beat(monitor, "error", "seen live")
        event = json.loads(socket.recv(timeout=10))
        assert event["type"] == "monitor.error", event
        return f"{(time.monotonic() - begun) * 1000:.0f} ms after the heartbeat was sent"


def spreads_over_replicas() -> str:
    """With `--scale notifier=3` the replicas share the sending."""
    compose("up", "-d", "--wait", "--no-recreate", "--scale", "notifier=3")
    channels = [add_channel(f"/many/{number}") for number in range(12)]
    monitors = [add_monitor(f"many-{number}", 3600, channel) for number, channel in enumerate(channels)]
    for turn in range(4):
        for monitor in monitors:
            beat(monitor, "error", f"turn {turn}")
    wait_until(
        lambda: all(told(f"/many/{number}", "monitor.error", "turn 3") for number in range(12)),
        "48 error messages",
    )
    sent = []
    for container in containers("notifier"):
        metrics = inside(container, "http://127.0.0.1:9100/metrics")
        found = re.findall(
            r'^mishpulse_attempts_total\{.*result="success".*\} ([\d.]+)', metrics, re.MULTILINE
        )
        sent.append(int(sum(map(float, found))))
    assert len(sent) == 3, sent
    assert sum(count > 0 for count in sent) >= 2, f"one replica did it all: {sent}"
    return f"messages sent by each replica: {sent}"


def is_watched_by_prometheus() -> str:
    """With `--profile metrics` Prometheus finds every replica and loads the alerts."""
    compose("--profile", "metrics", "up", "-d", "--wait", "--no-recreate", "--scale", "notifier=3")
    base = f"http://127.0.0.1:{PROMETHEUS_PORT}/api/v1"

    def up() -> list[str]:
        result = request("GET", f"{base}/query?query=up")[1]["data"]["result"]
        return sorted(found["metric"]["service"] for found in result if found["value"][1] == "1")

    expected = sorted([*OURS, "notifier", "notifier", "edge"])
    wait_until(lambda: up() == expected, f"targets {expected}", 60)
    groups = request("GET", f"{base}/rules")[1]["data"]["groups"]
    assert groups[0]["rules"]
    compose("--profile", "metrics", "rm", "--stop", "--force", "prometheus")
    return f"{len(expected)} targets"


def loses_nothing_by_stop() -> str:
    """`stop` and a start later: a retry goes on, and nobody is called dead because nobody listened."""
    patient = MONITORS["patient"] = add_monitor("patient", PATIENCE, add_channel("/patient"))
    failing = MONITORS["failing"] = add_monitor("failing", 3600, add_channel("/failing"))
    address = compose("port", "receiver", "9100").strip()
    request("POST", f"http://{address}/refuse", {})
    beat(failing, "error", "nobody could hear this")
    wait_until(lambda: received()["refused"], "a refused attempt")
    threading.Thread(target=_beat_for_ever, args=(patient,), daemon=True).start()
    wait_until(lambda: statuses()["patient"] == "alive", "the first beat of a program")
    begun = time.monotonic()
    compose("stop")
    stopped = time.monotonic() - begun
    time.sleep(max(0.0, PATIENCE + 2 - stopped))
    compose("up", "-d", "--wait", "--no-recreate", "--scale", "notifier=3")
    away = time.monotonic() - begun
    wait_until(lambda: told("/failing", "monitor.error", "nobody could hear this"), "the retried message")
    _never_died(patient)
    return f"stopped in {stopped:.1f} s, all there again after {away:.0f} s"


def survives_restart() -> str:
    """`restart` of everything at once: heartbeats and messages go on, and nobody is called dead."""
    compose("restart")
    wait_until(lambda: _answers("first"), "the status after the restart", 60)
    beat(MONITORS["failing"], "error", "after the restart")
    wait_until(lambda: told("/failing", "monitor.error", "after the restart"), "a message after the restart")
    _never_died(MONITORS["patient"])
    return "a message arrived"


def keeps_its_data() -> str:
    """`down` and `up`: monitors, incidents and sealed secrets are on the volumes."""
    before = statuses()
    down()
    compose("up", "-d", "--wait")
    assert statuses() == before
    beat(MONITORS["failing"], "error", "after down and up")
    wait_until(
        lambda: told("/failing", "monitor.error", "after down and up"),
        "a message signed with the kept secret",
    )
    _never_died(MONITORS["patient"])
    return f"{len(before)} monitors as before"


def logs_no_token() -> str:
    """No log of any service or of the edge shows a token, not even with services gone."""
    token = MONITORS["failing"]["token"]
    compose("stop", "webhooks", "collector")
    request("GET", f"/ws?token={TOKEN}")
    assert request("POST", f"/api/heartbeat/{token}", {})[0] in (502, 503)
    lines = compose("logs").splitlines()
    assert [line for line in lines if token in line or TOKEN in line] == []
    return f"{len(lines)} lines without one"


def _beat_for_ever(monitor: dict) -> None:
    """A program that beats twice a second and takes no refusal to heart."""
    while True:
        with contextlib.suppress(AssertionError, OSError, ValueError):
            beat(monitor)
        time.sleep(0.5)


def _never_died(monitor: dict) -> None:
    """The monitor is alive and has no incident; what just started is given a moment."""
    wait_until(lambda: statuses()[monitor["name"]] == "alive", f"{monitor['name']} alive")
    incidents = admin("GET", f"/api/monitors/{monitor['id']}/incidents")
    assert incidents["total"] == 0, incidents


def _answers(name: str) -> bool:
    with contextlib.suppress(OSError, TypeError, ValueError):
        return name in statuses()
    return False


STORY: tuple[Callable[[], str], ...] = (
    comes_up,
    is_hardened,
    keeps_its_own_to_itself,
    tells_of_silence_and_recovery,
    carries_live_events,
    spreads_over_replicas,
    is_watched_by_prometheus,
    loses_nothing_by_stop,
    survives_restart,
    keeps_its_data,
    logs_no_token,
)


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> int:
    """Every part in its order; the first that fails ends the story with the containers' last words."""
    say(f"compose: docker-compose.yml, end to end, at {EDGE}")
    take_down()
    try:
        for part in STORY:
            begun = time.monotonic()
            outcome = part()
            say(f"compose: {part.__name__.replace('_', ' ')}: {outcome} ({time.monotonic() - begun:.0f} s)")
    except (AssertionError, RuntimeError, OSError, subprocess.SubprocessError) as error:
        say(f"compose: FAILED: {part.__name__.replace('_', ' ')}: {error}")
        with contextlib.suppress(RuntimeError):
            say(compose("ps", "-a") + compose("logs", "--tail", "40"))
        return 1
    finally:
        take_down()
    say(f"compose: all {len(STORY)} parts held")
    return 0


def take_down() -> None:
    """Remove the story's containers, networks and volumes."""
    down("--volumes", "--remove-orphans", "--timeout", "5")


if __name__ == "__main__":
    sys.exit(main())

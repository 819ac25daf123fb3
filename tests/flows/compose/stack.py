"""The containers of docker-compose.yml as the story handles them: commands, requests through the edge, messages."""

import contextlib
import hashlib
import hmac
import json
import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
TOKEN = os.environ.get("STORY_TOKEN") or secrets.token_hex(16)


def free(wanted: str) -> str:
    """The wanted port, or another when something listens there already."""
    for port in (wanted, "0"):
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", int(port))) as listener:
            return str(listener.getsockname()[1])
    raise AssertionError("no port is free")


PORT = os.environ.get("PULSE_PORT") or free("8080")
PROMETHEUS_PORT = os.environ.get("PROMETHEUS_PORT") or free("9090")
EDGE = f"http://127.0.0.1:{PORT}"
CHANNEL_SECRET = "story-secret"
PROJECT = "mishpulse-story"
COMPOSE = (
    "docker",
    "compose",
    "-p",
    PROJECT,
    "-f",
    "docker-compose.yml",
    "-f",
    "tests/flows/compose/receiver.yml",
)

Json = Any


def compose(*arguments: str, timeout: float = 600) -> str:
    """What `docker compose …` prints; raises with its complaints when it fails."""
    environment = {**os.environ, "STORY_TOKEN": TOKEN, "PULSE_PORT": PORT, "PROMETHEUS_PORT": PROMETHEUS_PORT}
    done = subprocess.run(
        [*COMPOSE, *arguments],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(
            f"docker compose {' '.join(arguments)} failed:\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
        )
    return done.stdout


def down(*options: str) -> None:
    """`docker compose down` with these options.

    Engines before 29 count what is on a network apart from what is there, and now and then miscount: the network stays
    until the engine starts again, though every container has gone (moby/moby issues 42119 and 43286). That is said, and
    is a failure only when something was left.
    """
    try:
        compose("--profile", "metrics", "down", *options)
    except RuntimeError as error:
        left = compose("--profile", "metrics", "ps", "-a", "-q").split() + attached()
        if "has active endpoints" not in str(error) or left:
            raise
        sys.stdout.write("compose: the engine keeps a network on which nothing is left; it has miscounted\n")


def attached() -> list[str]:
    """Whatever is on one of the story's networks, by the engine's own account."""
    networks = docker(
        "network", "ls", "-q", "--filter", f"label=com.docker.compose.project={PROJECT}"
    ).split()
    found = [
        json.loads(docker("network", "inspect", "-f", "{{json .Containers}}", name)) for name in networks
    ]
    return [container for containers in found for container in containers]


def docker(*arguments: str) -> str:
    """What `docker …` prints; raises when it fails."""
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=60, check=True)
    return done.stdout


def request(method: str, url: str, body: Json = None, token: str = "") -> tuple[int, Json]:
    """Status and JSON of one answer; a path is asked of the edge. Connections refused raise OSError."""
    headers = {"Content-Type": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    data = None if body is None else json.dumps(body).encode()
    asked = urllib.request.Request(
        EDGE + url if url.startswith("/") else url, data=data, headers=headers, method=method
    )
    try:
        with urllib.request.urlopen(asked, timeout=20) as answer:
            status, text = answer.status, answer.read()
    except urllib.error.HTTPError as error:
        status, text = error.code, error.read()
    return status, json.loads(text) if text else None


def admin(method: str, path: str, body: Json = None) -> Json:
    """The JSON of an admin request that must succeed."""
    status, answer = request(method, path, body, token=TOKEN)
    assert 200 <= status < 300, f"{method} {path} answered {status}: {answer}"
    return answer


def beat(monitor: Json, status: str = "ok", message: str = "") -> None:
    """One heartbeat through the edge, acknowledged."""
    answer = request("POST", f"/api/heartbeat/{monitor['token']}", {"status": status, "message": message})
    assert answer == (200, {"result": "ok"}), f"heartbeat answered {answer}"


def statuses() -> dict[str, str]:
    """Every monitor's status by name."""
    return {monitor["name"]: monitor["status"] for monitor in request("GET", "/api/status")[1]}


def add_channel(path: str) -> Json:
    """A channel of type webhook that tells the receiver at this path."""
    config = {"url": f"http://receiver:9100{path}", "secret": CHANNEL_SECRET}
    return admin("POST", "/api/channels", {"name": path, "type": "webhook", "config": config})


def add_monitor(name: str, timeout: float, channel: Json) -> Json:
    """A monitor with that one channel."""
    return admin("POST", "/api/monitors", {"name": name, "timeout": timeout, "channels": [channel["id"]]})


def received() -> Json:
    """What the receiver has got since it started."""
    address = compose("port", "receiver", "9100").strip()
    return request("GET", f"http://{address}/messages")[1]


def told(path: str, kind: str, words: str = "") -> bool:
    """Whether a message of this type and with these words came to the path; its signature must be right."""
    for message in received()["messages"]:
        body = message["body"]
        if message["path"] != path or json.loads(body).get("type") != kind or words not in body:
            continue
        digest = hmac.new(CHANNEL_SECRET.encode(), body.encode(), hashlib.sha256).hexdigest()
        assert message["headers"]["x-webhook-signature"] == f"sha256={digest}"
        return True
    return False


def wait_until(check: Callable[[], Any], what: str, timeout: float = 30) -> float:
    """Seconds until `check` held; raises after `timeout`."""
    begun = time.monotonic()
    while not check():
        if time.monotonic() - begun > timeout:
            raise AssertionError(f"waited {timeout:g} s in vain: {what}")
        time.sleep(0.2)
    return time.monotonic() - begun


def containers(*services: str) -> list[str]:
    """The ids of running containers."""
    return compose("ps", "-q", *services).split()


def inside(container: str, url: str) -> str:
    """What a container's own process answers at `url`, asked from within."""
    code = f"import urllib.request as u; print(u.urlopen({url!r}, timeout=5).read().decode())"
    return docker("exec", container, "python", "-c", code)


def inspected(container: str) -> Json:
    """What the engine knows about a container."""
    return json.loads(docker("inspect", container))[0]

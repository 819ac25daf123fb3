"""What a service is made of is looked through for garbage once, when it starts."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from group import environment, free_port, get
from servers import Server
from waiting import wait_for

from shared.secrets import new_key

SERVICES = ("collector", "webhooks", "admin", "watchdog", "notifier", "webhooks-worker", "up")
WORKERS = ("watchdog", "notifier", "webhooks-worker")
OTHERS = 3_000
"""Objects that are looked through of a service that only just started: 64,000 and more without freezing."""

AT_THE_END = """
import atexit, gc, os, sys
def tell():
    if "services.cli" in sys.orig_argv:
        with open(f"{os.environ['COUNTS']}/{os.getpid()}", "w") as counts:
            print(gc.get_freeze_count(), len(gc.get_objects()), *sys.orig_argv, file=counts)
atexit.register(tell)
"""
"""Writes down how many objects are left out of every look for garbage, how many are not, and whose they are."""


@pytest.mark.timeout(60)
@pytest.mark.parametrize("service", SERVICES)
def test_what_a_service_is_made_of_is_not_looked_through_again(server: Server, tmp_path: Path, service: str):
    """A look through all of it would stop the service for tens of ms, again and again."""
    port, health, hook, counts = free_port(), free_port(), tmp_path / "hook", tmp_path / "counts"
    hook.mkdir()
    counts.mkdir()
    (hook / "sitecustomize.py").write_text(AT_THE_END)
    more = environment(
        PULSE_REDIS_URL=server.url,
        PULSE_SECRET_KEY=new_key(),
        PULSE_METRICS_PORT=str(health),
        COUNTS=str(counts),
    )
    more["PYTHONPATH"] += f":{hook}"
    options = [] if service in WORKERS else ["--port", str(port)]
    if service == "up":
        options += ["--data", str(tmp_path / "data"), "--redis-url", server.url]
    with subprocess.Popen(
        [sys.executable, "-m", "services.cli", service, *options], cwd=tmp_path, env=more
    ) as process:
        try:
            ready = port if service == "up" else health
            wait_for(lambda: get(ready, "/readyz")[0] == 200, "the service", 20)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(12)
    told = [path.read_text().split() for path in counts.iterdir()]
    told = [words for words in told if "up" not in words]  # its supervisor only waits
    assert len(told) == (4 if service == "up" else 1)
    for frozen, others, *whose in told:
        assert int(frozen) > 40_000, whose
        assert int(others) < OTHERS, whose

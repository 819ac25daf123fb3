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

SERVICES = ("collector", "webhooks", "admin", "watchdog", "notifier", "webhooks-worker")

AT_THE_END = """
import atexit, gc, sys
from services.cli import main
atexit.register(lambda: print(gc.get_freeze_count(), len(gc.get_objects()), flush=True))
sys.exit(main())
"""
"""Prints how many objects are left out of every look for garbage, and how many are not."""


@pytest.mark.timeout(60)
@pytest.mark.parametrize("service", SERVICES)
def test_what_a_service_is_made_of_is_not_looked_through_again(server: Server, tmp_path: Path, service: str):
    """A look through all of it would stop the service for tens of ms, again and again."""
    port, health = free_port(), free_port()
    options = ["--port", str(port)] if service in ("collector", "webhooks", "admin") else []
    with subprocess.Popen(
        [sys.executable, "-c", AT_THE_END, service, *options],
        cwd=tmp_path,
        env=environment(
            PULSE_REDIS_URL=server.url, PULSE_SECRET_KEY=new_key(), PULSE_METRICS_PORT=str(health)
        ),
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            wait_for(lambda: get(health, "/readyz")[0] == 200, "the service", 20)
        finally:
            process.send_signal(signal.SIGTERM)
        printed, _ = process.communicate(timeout=12)
    frozen, others = map(int, printed.split()[-2:])
    assert frozen > 40_000
    assert others < frozen / 4

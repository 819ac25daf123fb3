import logging
import os
import signal
import socket
import sys
import threading
from pathlib import Path

import pytest
from recorder import Recorder

CLIENT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True, scope="session")
def signals_as_usual():
    """Who starts the tests in the background has their processes ignore signals, and those that they start as well."""
    for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch, tmp_path):
    """No setting of the person who runs the tests reaches them, and none of their state is touched."""
    for name in ("PULSE_API_HOST", "PULSE_TIMEOUT", "PULSE_HEARTBEAT_SECRET", "PULSE_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PULSE_STATE_DIR", str(tmp_path / "state"))
    yield
    # A run that was left behind would find its success in the next test's folder.
    for thread in threading.enumerate():
        if thread.name.startswith("mishpulse"):
            thread.join(5)


@pytest.fixture
def server():
    recorder = Recorder()
    yield recorder
    recorder.close()


@pytest.fixture
def nowhere():
    """An address where nothing listens."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{reserved.getsockname()[1]}"


@pytest.fixture
def warnings(caplog):
    """The texts that the client has logged."""
    caplog.set_level(logging.WARNING, logger="mishpulse")
    return lambda: [record.getMessage() for record in caplog.records if record.name == "mishpulse"]


@pytest.fixture
def pulse_command():
    """The `pulse` command and the environment to run it in, without having it installed."""
    environment = {**os.environ, "PYTHONPATH": str(CLIENT)}
    return [sys.executable, "-m", "mishpulse_client"], environment

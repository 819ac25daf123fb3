"""Exits 0 while this container's process says that it is ready and each port given answers HTTP.

Run with `python -IS`, so that it costs little. A service's own port is asked beside the health port, because the latter
answers before the service has loaded.
"""  # noqa: INP001 - runs by itself

import os
import socket
import sys


def status(port: int, path: str) -> int:
    """The status of one GET; OSError or ValueError when there is no answer."""
    with socket.create_connection(("127.0.0.1", port), timeout=3) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        _, code, _ = connection.makefile("rb").readline().split(b" ", 2)
    return int(code)


try:
    ready = status(int(os.environ.get("PULSE_METRICS_PORT") or "9100"), "/readyz") == 200
    ready = ready and all(status(int(port), "/healthz") < 500 for port in sys.argv[1:])
except (OSError, ValueError) as error:
    sys.exit(f"no answer: {error}")
sys.exit(not ready)

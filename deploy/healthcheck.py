"""Exits 0 while this container's process says that it is ready; run with `python -IS`, so that it costs little."""  # noqa: INP001 - runs by itself

import os
import socket
import sys

port = int(os.environ.get("PULSE_METRICS_PORT") or "9100")
with socket.create_connection(("127.0.0.1", port), timeout=3) as connection:
    connection.sendall(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    status = connection.makefile("rb").readline().split()[1:2]
sys.exit(status != [b"200"])

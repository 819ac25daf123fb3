"""What `mishpulse up` tells its operator: a table on a terminal, else plain lines."""

import asyncio
import contextlib
import ipaddress
import socket
import sys
from collections.abc import Sequence

from services.supervisor import Keeper
from shared.version import version


class Screen:
    """Standard output, and the address of the group as its operator types it."""

    def __init__(self, listener: socket.socket) -> None:
        host, self._port = listener.getsockname()[:2]
        address = ipaddress.ip_address(host)
        if address.is_unspecified:
            host = "127.0.0.1" if address.version == 4 else "::1"
        self._host = host
        shown = f"[{host}]" if address.version == 6 else host
        self.url = f"http://{shown}:{self._port}"
        self.for_links = self.url if address.is_loopback else ""
        self._terminal = sys.stdout.isatty()

    async def answers(self) -> bool:
        """Whether GET /readyz is 200."""
        try:
            async with asyncio.timeout(1):  # the socket takes connections before anybody serves them
                reader, writer = await asyncio.open_connection(self._host, self._port)
                writer.write(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                line = await reader.readline()
        except (OSError, TimeoutError):
            return False
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        return b" 200 " in line

    def _say(self, text: str) -> None:
        print(text, flush=True)  # noqa: T201 - what the operator reads

    def starting(self) -> None:
        """Only on a terminal: somebody waits."""
        if self._terminal:
            self._say("MishPulse starts …")

    def admin_token(self, token: str) -> None:
        """The one time that the admin token can be read."""
        self._say(f"admin token (shown only now): {token}")

    def ready(self, keepers: Sequence[Keeper], curl: str | None) -> None:
        """What runs, where, and how to beat the demo monitor."""
        if self._terminal:
            self._table(keepers)
        self._say(f"MishPulse {version()} is ready: {self.url}")
        if curl:
            self._say(f"beat the demo monitor: {curl}")
        if self._terminal:
            self._say("Ctrl-C stops it; the data stay.")

    def _table(self, keepers: Sequence[Keeper]) -> None:
        from rich.console import Console  # noqa: PLC0415 - only on a terminal
        from rich.table import Table  # noqa: PLC0415

        table = Table("process", "pid", "", box=None, header_style="bold", pad_edge=False)
        for keeper in keepers:
            pid = keeper.process.pid if keeper.process else None
            table.add_row(keeper.name, str(pid or "-"), "[green]runs[/]" if pid else "[red]starts again[/]")
        Console().print(table)

    def stopping(self) -> None:
        """Only on a terminal: somebody waits."""
        if self._terminal:
            self._say("stopping …")

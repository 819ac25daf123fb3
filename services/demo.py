"""The demo monitor of `mishpulse up --demo`."""

from pathlib import Path

from shared import monitors
from shared.auth import hash_token
from shared.connection import Store
from shared.model import new_token

TIMEOUT_MS = 60_000
"""Short enough to watch it die."""


async def token(store: Store, file: Path) -> str | None:
    """The demo monitor's token; it is made once, and None when somebody has deleted it since.

    The token is no guessable word: who knows it can have messages sent to the operator's channels.
    """
    text = _read(file)
    if text:
        return text if await monitors.find_by_token(store, hash_token(text)) else None
    text = new_token()
    await monitors.create(store, monitors.NewMonitor("demo", timeout=TIMEOUT_MS, token=text))
    _write(file, text)
    return text


def _read(file: Path) -> str:
    return file.read_text("ascii").strip() if file.exists() else ""


def _write(file: Path, text: str) -> None:
    file.touch(mode=0o600)
    file.write_text(text + "\n", "ascii")


def curl(url: str, text: str) -> str:
    """The command that beats it."""
    return f"curl -fsS -X POST {url}/api/heartbeat/{text}"

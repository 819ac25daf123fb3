"""Small JSON files that several processes share: where they live, how they are locked and replaced."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .failures import Failed

try:
    import fcntl
except ImportError:  # Windows: processes there may now and then send or count twice
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from collections.abc import Iterator


def folder() -> Path:
    """The folder for state, made if need be: `PULSE_STATE_DIR`, the user's own, or a temporary one.

    A web server's user often has no home to write to. Raises Failed where nothing can be written.
    """
    given = os.environ.get("PULSE_STATE_DIR")
    if given:
        own = Path(given)
    else:
        home = os.path.expanduser("~")  # noqa: PTH111 - Path.home() raises where there is none
        own = Path(os.environ.get("XDG_STATE_HOME") or f"{home}/.local/state") / "mishpulse"
    if _is_writable(own):
        return own
    temporary = Path(tempfile.gettempdir()) / f"mishpulse-{os.getuid() if hasattr(os, 'getuid') else 'user'}"
    if not given and _is_writable(temporary) and _is_ours(temporary):
        return temporary
    raise Failed(f"no folder for state: {own} cannot be written")


def read(path: Path) -> dict[str, Any]:
    """The file's object; empty when it is absent or damaged."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def write(path: Path, content: dict[str, Any]) -> None:
    """Replace the file at once, so that no reader sees half of it; raises OSError."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(content, file)
        os.replace(name, path)  # noqa: PTH105 - both are names here
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)  # noqa: PTH108 - a name here
        raise


@contextlib.contextmanager
def locked(path: Path, *, wait: bool) -> Iterator[bool]:
    """Hold `<path>.lock` against other processes; yields False when another holds it and `wait` is off.

    The system gives the lock back when a process dies. Raises OSError where the file cannot be made.
    """
    with open(f"{path}.lock", "ab") as file:  # noqa: PTH123 - appends a suffix to any name
        if fcntl is None:
            yield True
            return
        try:
            fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


def _is_writable(path: Path) -> bool:
    """Make the folder, private, unless it is there."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(path, os.W_OK)


def _is_ours(path: Path) -> bool:
    """Whether we made it: in a shared temporary folder somebody else may have been faster."""
    return not path.is_symlink() and (not hasattr(os, "getuid") or path.lstat().st_uid == os.getuid())

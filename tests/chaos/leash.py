"""Processes that die with the one that started them, however that ends."""

import ctypes
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)


def _die_with_parent() -> None:
    """Runs in the child before its program; the kernel kills it when its parent's main thread is gone."""
    _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def start(
    arguments: Sequence[str | os.PathLike[str]],
    *,
    log: Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> subprocess.Popen[bytes]:
    """Starts a program on a leash, its output appended to `log`. Call it from the main thread."""
    with log.open("ab") as output:
        return subprocess.Popen(
            list(arguments),
            env=dict(env) if env is not None else None,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            preexec_fn=_die_with_parent,  # noqa: PLW1509 - this process has no other thread that forks
        )

"""A server that is full of monitors already: rows that want the same number share one loading.

What was loaded is kept as a snapshot in the folder `PULSE_BENCH_KEPT`, which `python bench` makes and removes; it
counts only for the code that wrote it. A row that runs alone loads its own.
"""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ground import ROOT, Server, server_name, serving
from loading import Wire, fill, lengthen

from shared import keys

KEPT = "PULSE_BENCH_KEPT"
WRITERS = ("shared/lua", "shared/keys.py", "shared/monitors.py", "shared/directory.py", "bench/loading.py")


@contextmanager
def filled(count: int, core: int | None = None) -> Iterator[tuple[Server, list[str]]]:
    """A server with `count` monitors, each with a full log of heartbeats, and their ids by number; not durable yet."""
    with tempfile.TemporaryDirectory(prefix="pulse-bench-") as own:
        snapshot = Path(os.environ.get(KEPT, own)) / f"{server_name()}-{count}-{_code()}.rdb"
        if not snapshot.exists():
            _write(snapshot, count)
        with serving(core=core, options=("--appendonly", "no"), snapshot=snapshot) as server:
            wire = Wire(server.url)
            ids = sorted(wire.call("ZRANGE", keys.deadlines(0), 0, -1))
            wire.close()
            if len(ids) != count:
                raise RuntimeError(f"{len(ids)} monitors instead of {count}")
            yield server, ids


def _write(snapshot: Path, count: int) -> None:
    with serving(options=("--appendonly", "no")) as server:
        lengthen(server.url, fill(server.url, range(count)))
        wire = Wire(server.url)
        wire.call("SAVE")
        wire.close()
        shutil.move(server.folder / "dump.rdb", snapshot)


def _code() -> str:
    """Names the code that decides which keys a monitor has."""
    digest = hashlib.sha256()
    for name in WRITERS:
        path = ROOT / name
        for file in sorted(path.rglob("*.lua")) if path.is_dir() else [path]:
            digest.update(file.read_bytes())
    return digest.hexdigest()[:12]

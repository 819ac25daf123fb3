"""A shop's telemetry: at most once an hour, signed, and never in the shop's way."""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import json
import threading
import time
from typing import TYPE_CHECKING, Any, Literal, Union

from . import counts, settings, state
from .cache import Cache, FileCache
from .events import SIGNATURE_HEADER, signature
from .exchange import post
from .failures import Failed, describe
from .quietly import attempt, warn
from .wire import Deadline

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

Outcome = Literal["sent", "skipped", "failed", "pending"]
VersionHeader = Union[str, tuple[str, str]]

INTERVAL = 3_600  # seconds between two successes
LONGEST = 2.0  # seconds for the request: PULSE_TIMEOUT may only make it shorter
VERSION_FIELDS = (
    "module_version",
    "version",
    "version_core",
)  # the first that was collected fills the header


class Telemetry:
    """Collects and sends when an hour has passed since the last success.

    `collect` returns the fields (domain, bot_username, php_version, module_version, …); a timestamp and the counts
    of earlier runs are added. `version_header` is a header's name, filled with the collected version, or a pair of
    name and value. The secret comes from the argument, from `pulse.heartbeat_secret` of `config`, or from
    PULSE_HEARTBEAT_SECRET. `cache` is any object with get and set (key, value, seconds). `name` tells several
    senders of one user apart; without one the collecting function's place in the source does.
    """

    def __init__(
        self,
        url: str | None = None,
        secret: str | None = None,
        version_header: VersionHeader | None = None,
        collect: Callable[[], Mapping[str, Any]] | None = None,
        *,
        config: Any = None,
        cache: Cache | None = None,
        name: str | None = None,
    ) -> None:
        self._url = url
        self._secret = secret
        self._config = config
        self._version_header = version_header
        self._collect = collect
        self._cache = cache
        self._running = threading.Lock()
        self._last_success = 0.0  # holds where the cache does not work
        self.name = name or _name_of(collect, version_header)

    def send(self) -> Outcome:
        """Run the telemetry and wait for it, at most the timeout; `pending` when collecting takes longer.

        Never raises; every failure is a warning and is counted.
        """
        return attempt("telemetry goes on in the background", _timeout(), self.run) or "pending"

    def send_in_background(self) -> None:
        """Run the telemetry on a thread of its own and return at once; never raises."""
        try:
            threading.Thread(target=self.run, name="mishpulse-telemetry", daemon=True).start()
        except RuntimeError as error:  # no thread to be had
            warn("telemetry not sent", error)

    def run(self, *, force: bool = False) -> Outcome:
        """The whole telemetry, in the caller's thread for as long as `collect` takes; never raises.

        1. A run that is under way in this or another process is enough: skipped.
        2. Less than an hour since the last success: skipped, unless forced.
        3. Without a secret nothing is collected or sent: failed.
        4. Collect, add the timestamp and the counts so far, sign the bytes, post them within 2 s: failed or sent.
        5. Remember the time of the success; count the outcome.
        """
        if not self._running.acquire(blocking=False):
            return self._count("skipped")
        try:
            return self._run_alone(force)
        except Exception as error:  # noqa: BLE001 - the promise of this class
            warn("telemetry not sent", error)
            return self._count("failed", str(error) if isinstance(error, Failed) else describe(error))
        finally:
            self._running.release()

    def counts(self) -> counts.Counts:
        """What became of all runs so far, of every process; empty when nothing can be read."""
        try:
            return counts.read(self._path())
        except Failed:
            return counts.Counts()

    def _run_alone(self, force: bool) -> Outcome:
        try:
            path = self._path()
        except Failed:
            return self._run_locked(force)  # without a folder only this process knows of its runs
        with state.locked(path.with_suffix(".run"), wait=False) as alone:
            return self._run_locked(force) if alone else self._count("skipped")

    def _run_locked(self, force: bool) -> Outcome:
        if not force and self._is_fresh():
            return self._count("skipped")
        secret = settings.heartbeat_secret(self._secret, self._config)
        if not secret:
            raise Failed("PULSE_HEARTBEAT_SECRET is not set, nor pulse.heartbeat_secret of the configuration")
        if self._collect is None:
            raise Failed("no function to collect with was given")
        fields = {"timestamp": int(time.time()), "telemetry": self._so_far(), **self._collect()}
        body = json.dumps(fields, allow_nan=False).encode()
        headers = {SIGNATURE_HEADER: signature(secret, body), **self._version(fields)}
        post(_endpoint(settings.base_url(self._url)), body, headers, deadline=Deadline(_timeout()))
        self._remember()
        return self._count("sent")

    def _so_far(self) -> dict[str, Any]:
        """What the server cannot count itself: how many runs were skipped or failed before this one."""
        kept = self.counts()
        return {"sent": kept.sent, "skipped": kept.skipped, "failed": kept.failed}

    def _is_fresh(self) -> bool:
        """Whether the last success is less than an hour ago; a time to come is a clock set back since."""
        last = self._last_success
        try:
            last = max(last, float(self._store().get(self._key) or 0))
        except Exception as error:  # noqa: BLE001 - a cache may be anybody's object
            warn("telemetry's cache cannot be read", error)
        return 0 <= time.time() - last < INTERVAL

    def _remember(self) -> None:
        self._last_success = time.time()
        try:
            self._store().set(self._key, str(self._last_success), INTERVAL)
        except Exception as error:  # noqa: BLE001 - see _is_fresh
            warn("telemetry's cache cannot be written", error)

    def _count(self, outcome: Literal["sent", "skipped", "failed"], error: str = "") -> Outcome:
        try:
            counts.record(self._path(), self.name, settings.base_url(self._url), outcome, error)
        except Exception as failure:  # noqa: BLE001 - counting is the least of it
            warn("telemetry cannot be counted", failure)
        return outcome

    def _version(self, fields: Mapping[str, Any]) -> dict[str, str]:
        if not self._version_header:
            return {}
        if not isinstance(self._version_header, str):
            name, value = self._version_header
            return {name: str(value)}
        found = [str(fields[field]) for field in VERSION_FIELDS if fields.get(field)]
        return {self._version_header: found[0]} if found else {}

    @property
    def _key(self) -> str:
        return f"mishpulse.telemetry.{self.name}"

    def _store(self) -> Cache:
        return FileCache(state.folder() / "cache.json") if self._cache is None else self._cache

    def _path(self) -> Path:
        return counts.path_of(self.name, state.folder())


def _timeout() -> float:
    return min(settings.timeout(), LONGEST)


def _endpoint(base: str) -> str:
    return base if base.endswith("/heartbeat") else f"{base}/heartbeat"


def _name_of(collect: object, version_header: VersionHeader | None) -> str:
    """A short name that is the same in every process of one installation and different in another's."""
    header = version_header if isinstance(version_header, str) or not version_header else version_header[0]
    parts = [str(header or ""), getattr(collect, "__module__", ""), getattr(collect, "__qualname__", "")]
    with contextlib.suppress(TypeError):  # a callable object, or nothing at all
        parts.append(inspect.getsourcefile(collect) or "")  # type: ignore[arg-type]  # see above
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()[:12]

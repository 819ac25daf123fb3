"""A thread that beats every N seconds for as long as the program lives."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Callable

from .beats import Beat, Pulse
from .failures import describe
from .quietly import warn

if TYPE_CHECKING:
    from types import TracebackType


class Background:
    """Beats at once and then every `seconds`, until the program ends or `stop` is called.

    The thread is a daemon: it never keeps a program alive. A program that hangs elsewhere goes on beating,
    so give a `check` that looks at its work: it returns None or a text that becomes a warning, and what it
    raises becomes an error. After a fork only the parent beats.
    """

    def __init__(self, pulse: Pulse, seconds: float, check: Callable[[], str | None] | None = None) -> None:
        self._pulse = pulse
        self._seconds = max(float(seconds), 0.01)
        self._check = check
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> Background:
        """Begin; a second call changes nothing."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._beat_on, name="mishpulse-background", daemon=True)
            try:
                self._thread.start()
            except RuntimeError as error:  # no thread to be had
                warn("no heartbeats in the background", error)
        return self

    def stop(self) -> None:
        """End without another beat; one that is under way is not waited for."""
        self._stopped.set()

    def __enter__(self) -> Background:
        """Begin."""
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End."""
        self.stop()

    def _beat_on(self) -> None:
        while not self._stopped.is_set():
            self._pulse.send(self._next())
            self._stopped.wait(self._seconds)

    def _next(self) -> Beat:
        try:
            complaint = self._check() if self._check else None
        except Exception as error:  # noqa: BLE001 - the check's failure is the news
            return Beat("error", describe(error))
        return Beat("warning", complaint) if complaint else Beat()

"""`pulse run`: a command whose beginning, end and output are told to its monitor.

The command's fate is never changed by ours: it starts at once, whether the server answers or not, gets the
signals that we get, and its exit status is the caller's. POSIX only.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import threading

from .beats import Beat, new_rid, send
from .failures import Failed, TimedOut, describe
from .quietly import within
from .tail import Tail
from .wire import Deadline

TYPE_CHECKING = False  # see __init__
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import IO

NOT_FOUND, NOT_EXECUTABLE = 127, 126  # as a shell says it
PASSED_ON = ("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGWINCH")
FROM_THE_TERMINAL = ("SIGINT", "SIGQUIT", "SIGWINCH")  # the terminal sends these to the whole group
CHUNK = 65_536


def run(
    command: Sequence[str], reports: Reports, tell: Callable[[str], None], *, capture: bool = True
) -> int:
    """Run the command and return the exit status for the caller: its own, 128 + signal, 127 or 126.

    1. Send the start beside the command, not before it.
    2. Pass on signals and output until the command itself has ended; whom it left behind is not waited for.
    3. Send the exit status with the last 10,000 bytes of output, within the timeout.
    """
    _fill_standard_files()
    tail = Tail()
    with Signals() as signals:
        reports.start()
        try:
            status, note = _run_to_its_end(command, tail, signals, capture=capture)
        except OSError as error:
            status = NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_EXECUTABLE
            note = f"{command[0]}: {error.strerror}"
            tell(note)
        failure = reports.end(status, tail.text(note))
    if failure:
        tell(f"not reported: {failure}")
    return status


class Reports:
    """The two heartbeats of a run, paired by a rid."""

    def __init__(self, url: str | None, token: str | None, timeout: float) -> None:
        self._url = url
        self._token = token
        self._timeout = timeout
        self._rid = new_rid()
        self._start_until = Deadline(timeout)
        self._starting: threading.Thread | None = None

    def start(self) -> None:
        """Begin to send the start; what becomes of it is seen in the end's answer."""
        self._start_until = Deadline(self._timeout)
        self._starting = threading.Thread(target=self._send_start, daemon=True)
        try:
            self._starting.start()
        except RuntimeError:
            self._starting = None

    def end(self, status: int, message: str) -> str:
        """Send the end within the timeout; why it failed, or nothing.

        The start has to arrive first: it gets at most half of the time, then it is given up, or it
        would call a run that is over still running.
        """
        deadline = Deadline(self._timeout)
        if self._starting is not None:
            self._starting.join(self._timeout / 2)
            self._start_until.at = 0.0
        beat = Beat("ok" if status == 0 else "error", message, action=str(status), rid=self._rid)
        try:
            within(deadline.left(), lambda: send(self._url, self._token, beat, deadline, tries=0))
        except TimedOut:
            return f"no answer within {self._timeout:g} s"
        except Failed as error:
            return str(error)
        except Exception as error:  # noqa: BLE001 - the command's status matters more than ours
            return describe(error)
        return ""

    def _send_start(self) -> None:
        with contextlib.suppress(Exception):  # see start
            send(self._url, self._token, Beat(action="start", rid=self._rid), self._start_until, tries=0)


def _run_to_its_end(
    command: Sequence[str], tail: Tail, signals: Signals, *, capture: bool
) -> tuple[int, str]:
    """Its exit status and a note on how it died; raises OSError where it cannot be started."""
    pipe = subprocess.PIPE if capture else None
    child = subprocess.Popen(command, stdout=pipe, stderr=pipe, bufsize=0)  # noqa: S603 - the user's own command
    signals.pass_to(child)
    if child.stdout and child.stderr:
        copies = [Copy(child.stdout, 1, tail), Copy(child.stderr, 2, tail)]
        _relay(child, copies, signals.woken)
    returned = child.wait()
    if returned >= 0:
        return returned, ""
    return 128 - returned, f"killed by {_signal_name(-returned)}"


class Signals:
    """While entered, passes signals on to the child and wakes the relay when it ends.

    What comes after the child's end is swallowed: a SIGTERM for the whole group must not keep the end from
    being sent. A signal that was ignored when we started (nohup, a shell's background job) stays so for the
    child as well.
    """

    def __init__(self) -> None:
        self._child: subprocess.Popen[bytes] | None = None
        self._early: list[int] = []
        self._before: dict[int, object] = {}
        self.woken, self._waker = os.pipe()

    def __enter__(self) -> Signals:
        os.set_blocking(self.woken, False)
        os.set_blocking(self._waker, False)
        signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False)
        self._before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda *_: None)
        for name in PASSED_ON:
            number = getattr(signal, name)
            if signal.getsignal(number) != signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._pass_on)
        return self

    def __exit__(self, *_: object) -> None:
        """Put things back."""
        signal.set_wakeup_fd(-1)
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]  # what signal() itself returned
        os.close(self.woken)
        os.close(self._waker)

    def pass_to(self, child: subprocess.Popen[bytes]) -> None:
        """Name the receiver; what came before it existed is passed on now."""
        self._child = child
        for number in self._early:
            child.send_signal(number)

    def _pass_on(self, number: int, _: object) -> None:
        if _name(number) in FROM_THE_TERMINAL and _in_foreground():
            return  # the child has had it from the terminal itself
        if self._child is None:
            self._early.append(number)
        else:
            self._child.send_signal(number)


class Copy:
    """One of the child's outputs: read from its pipe, written to ours, kept in the tail."""

    def __init__(self, source: IO[bytes], target: int, tail: Tail) -> None:
        self.descriptor = source.fileno()
        self._source = source
        self._target = target
        self._tail = tail

    def step(self) -> int:
        """Copy what is there and return how much; 0 when there will be no more, with the pipe closed.

        Where nobody reads our output any more the pipe is closed too, so that the child feels it.
        """
        chunk = os.read(self.descriptor, CHUNK)
        self._tail.add(chunk)
        if not chunk or not _write(self._target, chunk):
            self._source.close()
            return 0
        return len(chunk)

    def drain(self) -> None:
        """Copy what the pipe still holds, without waiting, and no more than it can hold.

        A process that the child left behind may keep the pipe open, and even full, for ever.
        """
        os.set_blocking(self.descriptor, False)
        left = _capacity(self.descriptor)
        try:
            while left > 0 and (copied := self.step()):
                left -= copied
        except BlockingIOError:
            pass
        self._source.close()


def _relay(child: subprocess.Popen[bytes], copies: Sequence[Copy], woken: int) -> None:
    """Copy the child's output to ours until it has ended and its pipes are empty, or both are closed."""
    poller = select.poll()
    poller.register(woken, select.POLLIN)
    open_copies = {copy.descriptor: copy for copy in copies}
    for descriptor in open_copies:
        poller.register(descriptor, select.POLLIN)
    while open_copies and child.poll() is None:
        for descriptor, _ in poller.poll():
            if descriptor == woken:
                os.read(woken, CHUNK)
            elif not open_copies[descriptor].step():
                poller.unregister(descriptor)
                del open_copies[descriptor]
    for copy in open_copies.values():
        copy.drain()


def _write(descriptor: int, data: bytes) -> bool:
    """Write all of it; False when nobody reads there any more."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(descriptor, view) :]
        except BlockingIOError:
            select.select([], [descriptor], [])
        except OSError:
            return False
    return True


def _capacity(pipe: int) -> int:
    """How many bytes the pipe can hold."""
    try:
        import fcntl

        return fcntl.fcntl(pipe, 1032)  # F_GETPIPE_SZ, which fcntl names only since Python 3.10
    except OSError:
        return CHUNK


def _fill_standard_files() -> None:
    """Open what the caller left closed, or a pipe of ours would become somebody's standard output."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def _in_foreground() -> bool:
    """Whether a terminal sends its signals to our process group, and so to the child too."""
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)


def _name(number: int) -> str:
    return signal.Signals(number).name


def _signal_name(number: int) -> str:
    try:
        return _name(number)
    except ValueError:  # a real-time signal
        return f"signal {number}"

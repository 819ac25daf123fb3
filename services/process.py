"""One process: its signals, its connection to Redis, its health port, and the service that runs in it."""

import asyncio
import contextlib
import errno
import gc
import os
import resource
import signal
import socket
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from importlib import import_module
from typing import Any, Final

import structlog
import uvicorn
from redis.exceptions import RedisError

from shared import logs
from shared.connection import UNAVAILABLE, Store, connect
from shared.errors import PulseError
from shared.schema import open_store
from shared.settings import Settings

log = structlog.get_logger(__name__)

Main = Callable[[Store, Settings, asyncio.Event], Awaitable[None]]

WORKERS: Final = {
    "watchdog": "services.watchdog.service",
    "notifier": "services.notifier.service",
    "webhooks-worker": "services.webhooks.worker",
}
"""Where the `run` of each worker is."""

COMPOSITE: Final = "http"
"""The process of `mishpulse up` in which all HTTP services live."""

DRAIN = 5
"""Seconds that requests under way are given at the end, of a service on its own …"""
DRAIN_IN_GROUP = 2
"""… and in `mishpulse up`, whose workers and Valkey end after it and within the same 10 s."""
END_WITHIN = 9.0
"""Seconds after a signal within which the process is gone, whatever hangs: below the promised 10."""
BACKLOG = 2048
OPEN_FILES = 65_536
"""Open files a process asks for, where it is allowed that many."""


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; PulseError says what to do when the port is taken or the address not ours."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror:
        raise PulseError(f"{host} is no address of this machine; choose another with --host") from None
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise PulseError(
                f"port {port} on {host} is in use: stop what listens there, or choose another with --port"
            ) from error
        raise PulseError(f"cannot listen on {host} port {port}: {error.strerror}") from error
    return listener


async def open_reachable(settings: Settings) -> Store:
    """The store of `settings.redis_url`; PulseError in one line when the server does not answer."""
    redis = connect(settings.redis_url)
    try:
        return await open_store(redis, settings.shards)
    except (RedisError, *UNAVAILABLE) as error:
        await redis.aclose()
        reason = logs.clean(str(error)) or type(error).__name__
        raise PulseError(
            f"the Redis of PULSE_REDIS_URL, {logs.clean(settings.redis_url)}, does not answer ({reason}): "
            "start it, or correct the address"
        ) from None


class Server(uvicorn.Server):
    """uvicorn without signal handlers of its own, for two of them live in one process.

    An app with `opened` is told when its port is served.
    """

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's; then the app is told."""
        await super().startup(sockets)
        if self.started:
            getattr(self.config.app, "opened", lambda: None)()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leaves the signals to `run`."""
        yield


async def serve(
    app: Any, listener: socket.socket, stop: asyncio.Event, *, lifespan: bool = True, drain: int = DRAIN
) -> None:
    """Serves `app` on `listener` until `stop` is set and requests under way are answered, or `drain` s later.

    An app with `closing` is told before the listener is closed; its lifespan ends after the last request.
    """
    server = Server(
        uvicorn.Config(
            app,
            http=getattr(app, "protocol", "httptools"),
            ws="websockets-sansio",
            # Compressing costs each live client 300 KB and each message its own deflate.
            ws_per_message_deflate=False,
            ws_max_size=1 << 20,
            lifespan="on" if lifespan else "off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            backlog=BACKLOG,
            timeout_graceful_shutdown=drain,
        )
    )

    async def exit_on_stop() -> None:
        await stop.wait()
        getattr(app, "closing", lambda: None)()
        server.should_exit = True

    waiting = asyncio.create_task(exit_on_stop())
    try:
        await server.serve(sockets=[listener])
    finally:
        waiting.cancel()
    if not server.started:
        raise PulseError("the service could not start; its log says why")


def raise_open_files() -> None:
    """Lets the process open as many files as it is allowed to ask for: each connection is one.

    Common systems start processes with 1,024 and allow many times that.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):  # some systems allow less than they say
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def freeze() -> None:
    """No look for garbage goes through what was made until now; of it only what refers to itself stays for good.

    A service is a hundred thousand objects before its first request, and a look through them stops it for 40 to 110 ms.
    """
    gc.collect()
    gc.freeze()


def _exit_late() -> None:
    timer = threading.Timer(END_WITHIN, os._exit, (1,))
    timer.daemon = True
    timer.start()


async def _live(service: str, settings: Settings, main: Main, signals: tuple[signal.Signals, ...]) -> None:
    """Opens the store, runs `main` and the health port beside it, and closes everything in the other order."""
    from shared import health, metrics, presence  # noqa: PLC0415 - after run_child has chosen where metrics live

    stop, ended = asyncio.Event(), asyncio.Event()

    def end() -> None:
        if not stop.is_set():
            _exit_late()
        stop.set()

    for number in signals:
        asyncio.get_running_loop().add_signal_handler(number, end)
    store = await open_reachable(settings)
    health.say_who(service)
    side = [
        asyncio.create_task(metrics.sample_loop_lag()),
        asyncio.create_task(presence.announce(store, service)),
    ]
    if settings.metrics_port:
        listener = listen(settings.metrics_host, settings.metrics_port)
        probe = health.Health(store.redis)
        side.append(asyncio.create_task(serve(probe, listener, ended, lifespan=False, drain=1)))
    log.info("starting", pid=os.getpid())
    freeze()
    try:
        await main(store, settings, stop)
    finally:
        ended.set()
        for task in side[:2]:
            task.cancel()
        await asyncio.gather(*side, return_exceptions=True)
        await store.redis.aclose()
    if not stop.is_set():
        raise PulseError(f"{service} ended without being asked to")
    log.info("stopped")


def _run(
    service: str,
    settings: Settings,
    main: Main,
    signals: tuple[signal.Signals, ...] = (signal.SIGTERM, signal.SIGINT),
) -> None:
    import uvloop  # noqa: PLC0415 - absent where it does not exist; asyncio's own loop does there

    logs.setup(service, settings.log_level)
    raise_open_files()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_live(service, settings, main, signals))
    except PulseError:
        raise
    except Exception:
        log.exception("failed")
        sys.exit(1)


def _http_main(service: str, listener: socket.socket) -> Main:
    """Serves one HTTP service, or all of them in one app.

    One on its own is imported here and now: its health port must not call it ready while that takes its second.
    """
    alone = None if service == COMPOSITE else import_module(f"services.{service}.app")

    async def main(store: Store, settings: Settings, stop: asyncio.Event) -> None:
        if alone is None:
            from services.composite import create_composite  # noqa: PLC0415

            app = create_composite(store, settings)
            freeze()
            await serve(app, listener, stop, drain=DRAIN_IN_GROUP)
            return
        if service == "admin":
            await show_admin_token(store, settings)
        app = alone.create_app(store, settings)
        freeze()
        await serve(app, listener, stop)

    return main


async def show_admin_token(store: Store, settings: Settings) -> None:
    """Makes the admin token when the data has none and the settings name none; prints it, this one time."""
    from shared.auth import ensure_admin_token  # noqa: PLC0415

    if settings.admin_token:
        return
    token = await ensure_admin_token(store)
    if token:
        print(f"admin token (shown only now): {token}", flush=True)  # noqa: T201 - the one way to learn it


def run_http(service: str, settings: Settings, listener: socket.socket) -> None:
    """Runs one HTTP service until SIGTERM or SIGINT."""
    _run(service, settings, _http_main(service, listener))


def run_worker(service: str, settings: Settings) -> None:
    """Runs one worker until SIGTERM or SIGINT."""
    _run(service, settings, _worker_main(service))


def _worker_main(service: str) -> Main:
    """What a worker does. It takes no core from Redis or a collector in the middle of their work where it wakes up.

    In a storm the server was taken off its core 1,300 to 1,900 times in 3 s otherwise, most of them for the worker that
    it had just answered (`SCHED_BATCH` in sched(7)). It takes nothing from a machine that has a core to spare.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    main: Main = import_module(WORKERS[service]).run
    return main


def run_child(service: str, settings: Settings, listener: int) -> None:
    """Runs one process of `mishpulse up`, which ends when the supervisor does, however that ends.

    Its standard input is a pipe that nobody writes to and only the supervisor holds open. Ctrl-C reaches it
    with the supervisor's whole group; it waits for the supervisor's word instead.
    """
    from prometheus_client import values  # noqa: PLC0415 - before shared.metrics makes the first value

    values.ValueClass = values.MultiProcessValue(lambda: service)  # type: ignore[no-untyped-call]
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_supervisor, daemon=True, name="leash").start()
    up = service == COMPOSITE
    main = _http_main(service, socket.socket(fileno=listener)) if up else _worker_main(service)
    _run(service, settings, main, (signal.SIGTERM,))


def _end_with_supervisor() -> None:
    while os.read(sys.stdin.fileno(), 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    threading.Event().wait(END_WITHIN)
    os._exit(1)

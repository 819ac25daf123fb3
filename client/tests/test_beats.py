import asyncio
import logging
import shutil
import socket
import subprocess
import sys
import threading
import time

import pytest
from recorder import Answer
from waiting import wait_until

from mishpulse_client import AsyncPulse, Background, Pulse, beats, quietly, wire


@pytest.mark.parametrize("status", ["ok", "warning", "error"])
def test_each_status_is_posted_as_the_contract_says(server, status):
    """A beat is a POST of status and message to the token's path, and is True once the server said 200."""
    assert getattr(Pulse(server.url, "a-token"), status)("the message") is True
    (request,) = server.requests
    assert (request.method, request.path) == ("POST", "/api/heartbeat/a-token")
    assert request.json == {"status": status, "message": "the message"}


def test_url_and_token_come_from_the_environment(server, monkeypatch):
    """Without arguments PULSE_API_HOST and PULSE_TOKEN are used, the former even without its scheme."""
    monkeypatch.setenv("PULSE_API_HOST", server.url.replace("http://", "") + "/")
    monkeypatch.setenv("PULSE_TOKEN", "from-env")
    assert Pulse().ok()
    assert server.paths() == ["/api/heartbeat/from-env"]


def test_long_and_broken_messages_are_made_fit(server):
    """A message is cut to 10,000 bytes between characters, and lone surrogates do not make it unreadable."""
    Pulse(server.url, "t").error("\udcff" + "я" * 9_000)
    message = server.requests[0].json["message"]
    assert message.startswith("?я")
    assert len(message.encode()) == 9_999


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_an_overloaded_server_is_asked_again(server, status):
    """429 and 5xx are retried within the timeout."""
    server.answers = [Answer(status), Answer(200)]
    assert Pulse(server.url, "t").ok()
    assert len(server.requests) == 2


@pytest.mark.parametrize("status", [301, 400, 403, 404, 413, 422])
def test_a_refusal_is_final_and_says_why_without_the_token(server, warnings, status):
    """Other answers are not retried; the warning holds the server's sentence, never the token."""
    server.answers = [Answer(status, b'{"detail": "Make a new token."}')]
    assert Pulse(server.url, "hush-hush").ok() is False
    assert len(server.requests) == 1
    (warning,) = warnings()
    assert "Make a new token." in warning
    assert "hush-hush" not in warning


def test_a_redirect_is_not_followed_but_named(server, warnings):
    """The warning tells where the server lives, without the path that holds the token."""
    server.answers = [Answer(308, b"", {"Location": "https://pulse.example/api/heartbeat/t0ken"})]
    Pulse(server.url, "t0ken").ok()
    assert "https://pulse.example" in warnings()[0]
    assert "t0ken" not in warnings()[0]


def test_retry_after_beyond_the_timeout_gives_up_at_once(server):
    """A server that wants to be left alone for longer than the timeout is."""
    server.answers = [Answer(503, b"", {"Retry-After": "60"})]
    began = time.monotonic()
    assert Pulse(server.url, "t").ok() is False
    assert time.monotonic() - began < 1
    assert len(server.requests) == 1


def test_nothing_listens(nowhere, warnings):
    """A server that is away is a warning after a few tries."""
    assert Pulse(nowhere, "t").ok() is False
    assert "refused" in warnings()[0]


@pytest.mark.parametrize("kind", ["hangs", "drips", "never accepts"])
def test_no_call_takes_longer_than_its_timeout(server, kind):
    """Neither silence nor a byte now and then nor a full backlog holds the program for longer."""
    url = server.url
    full = socket.socket()
    crowd = []
    if kind == "hangs":
        server.hang()
    elif kind == "drips":
        server.answers = [Answer(drip=0.1)]
    else:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        url = "http://{}:{}".format(*full.getsockname())
        crowd = [socket.socket() for _ in range(3)]
        for waiting in crowd:
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
    began = time.monotonic()
    assert Pulse(url, "t", timeout=0.4).ok() is False
    assert 0.3 < time.monotonic() - began < 1.4
    for waiting in [*crowd, full]:
        waiting.close()


def test_a_name_server_that_hangs_does_not_hold_the_program(monkeypatch):
    """Looking up a name knows no timeout, so the program does not wait for it."""
    released = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: released.wait(10) and [])
    began = time.monotonic()
    assert Pulse("http://pulse.example", "t", timeout=0.2).ok() is False
    assert time.monotonic() - began < 1.2
    released.set()


def test_waiting_threads_do_not_pile_up(monkeypatch, warnings):
    """With every slot taken by calls that hang, the next one gives up at once."""
    released = threading.Event()
    monkeypatch.setattr(quietly, "_slots", threading.BoundedSemaphore(2))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: released.wait(10) and [])
    pulse = Pulse("http://pulse.example", "t", timeout=0.05)
    assert [pulse.ok(), pulse.ok(), pulse.ok()] == [False] * 3
    assert "too many" in warnings()[-1]
    released.set()


@pytest.mark.parametrize(
    ("url", "token"),
    [
        ("ftp://x", "t"),
        ("http://", "t"),
        ("http://[::1", "t"),
        ("http://x:99999999", "t"),
        ("http://127.0.0.1:1", ""),
        (object(), "t"),
        ("http://\udcff.example", "t"),
        ("http://a..example", "t"),
        ("http://" + "x" * 70 + ".example", "t"),
    ],
)
def test_nonsense_settings_are_a_warning(url, token, warnings):
    """No constructor or method raises whatever it is given."""
    assert Pulse(url, token, timeout="soon").ok() is False
    assert len(warnings()) == 1


@pytest.mark.parametrize(
    "raw",
    [
        b"\n",
        b"\0" * 100_000,
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 20_000,
        b"HTTP/1.1 \xb2\xb2\xb2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n",
    ],
    ids=["empty line", "zeros", "ssh", "status", "cut", "chunk", "endless head", "digits", "negative"],
)
def test_what_is_no_http_is_a_warning(server, raw, warnings):
    """A port where something else answers, or half an answer, raises nothing."""
    server.answers = [Answer(raw=raw)]
    assert Pulse(server.url, "t").ok() is False
    assert len(warnings()) == 1


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\nuntil the close",
        b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n",
    ],
    ids=["interim", "chunks", "until close", "no content"],
)
def test_every_way_to_frame_an_answer_is_understood(server, raw):
    """Interim answers, chunks, closing and empty answers are HTTP too."""
    server.answers = [Answer(raw=raw)]
    assert Pulse(server.url, "t").ok() is True


def test_a_logging_handler_that_raises_is_kept_away(nowhere):
    """Not even the warning about a failure may fail."""

    class Broken(logging.Handler):
        def emit(self, record):
            raise OSError("disk full")

    handler = Broken()
    logging.getLogger("mishpulse").addHandler(handler)
    try:
        assert Pulse(nowhere, "t").ok() is False
    finally:
        logging.getLogger("mishpulse").removeHandler(handler)


def test_asyncio_twin_leaves_the_loop_free(server):
    """While a beat waits for a server that hangs, other tasks run; cancelling it works at once."""
    server.hang()

    async def program():
        pulse = AsyncPulse(server.url, "t", timeout=0.3)
        ticks = 0
        beat = asyncio.create_task(pulse.ok())
        while not beat.done():
            await asyncio.sleep(0.01)
            ticks += 1
        assert beat.result() is False
        assert ticks > 1
        cancelled = asyncio.create_task(pulse.error("x"))
        await asyncio.sleep(0.01)
        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled

    asyncio.run(program())


def test_asyncio_twin_beats_every_n_seconds(server):
    """`every` beats for as long as its task lives."""

    async def program():
        task = asyncio.create_task(AsyncPulse(server.url, "t").every(0.01))
        await asyncio.to_thread(wait_until, lambda: len(server.requests) >= 3, "three beats")
        task.cancel()

    asyncio.run(program())
    assert {request.json["status"] for request in server.requests} == {"ok"}


def test_background_thread_beats_until_stopped(server):
    """It beats at once and then every N seconds; its check turns into warnings and errors."""
    told = iter(["", "queue is long"])

    def check():
        try:
            return next(told)
        except StopIteration:
            raise LookupError("worker is gone") from None

    with Background(Pulse(server.url, "t"), 0.01, check):
        wait_until(lambda: len(server.requests) >= 3, "three beats")
    sent = [request.json for request in server.requests[:3]]
    assert sent == [
        {"status": "ok"},
        {"status": "warning", "message": "queue is long"},
        {"status": "error", "message": "LookupError: worker is gone"},
    ]


def test_background_thread_ends_with_the_program(server):
    """A program that beats in the background, even at a server that hangs, ends when its work is done."""
    server.hang()
    program = "from mishpulse_client import *; import sys; Background(Pulse(sys.argv[1], 't'), 9).start()"
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", program, server.url], check=True, timeout=10)
    assert time.monotonic() - began < 5


def test_beating_while_the_interpreter_ends(server):
    """From an atexit handler, where newer Pythons start no threads, a beat still arrives or is a warning."""
    program = (
        "import atexit, sys; from mishpulse_client import Pulse\n"
        "atexit.register(lambda: print(Pulse(sys.argv[1], 't').ok('bye')))"
    )
    done = subprocess.run([sys.executable, "-c", program, server.url], capture_output=True, check=True)
    assert (done.stdout, done.stderr) == (b"True\n", b"")
    assert server.requests[0].json["message"] == "bye"


def test_rids_are_random_uuids():
    """A rid is a UUID of version 4, new each time."""
    import uuid

    made = [uuid.UUID(beats.new_rid()) for _ in range(50)]
    assert {(rid.version, rid.variant) for rid in made} == {(4, uuid.RFC_4122)}
    assert len(set(made)) == 50


@pytest.fixture
def certificate(tmp_path):
    """A certificate for 127.0.0.1 that only its owner has signed."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed here")
    command = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost"
    files = ["-keyout", str(tmp_path / "key.pem"), "-out", str(tmp_path / "cert.pem")]
    names = ["-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([openssl, *command.split(), *files, *names], check=True, capture_output=True)
    return tmp_path / "cert.pem", tmp_path / "key.pem"


def test_tls_is_spoken_and_certificates_are_checked(server, certificate, monkeypatch, warnings):
    """A heartbeat over https arrives where the certificate is trusted, and is a warning where it is not."""
    server.speak_tls(*certificate)
    monkeypatch.setattr(wire, "_contexts", [])
    assert Pulse(server.url, "t").ok() is False
    assert "CERTIFICATE_VERIFY_FAILED" in warnings()[0]
    monkeypatch.setattr(wire, "_contexts", [])
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    assert Pulse(server.url, "t").ok() is True
    assert server.paths() == ["/api/heartbeat/t"]


def test_a_forked_child_beats_too(server):
    """After a fork, with every slot of the parent taken, the child has slots of its own."""
    program = (
        "import os, sys\n"
        "from mishpulse_client import Pulse, quietly\n"
        "while quietly._slots.acquire(blocking=False): pass\n"
        "pid = os.fork()\n"
        "if pid == 0: os._exit(0 if Pulse(sys.argv[1], 't').ok() else 1)\n"
        "sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))"
    )
    subprocess.run([sys.executable, "-c", program, server.url], check=True, timeout=10)
    assert server.paths() == ["/api/heartbeat/t"]

import contextlib
import http
import json
import queue
import subprocess
import threading
import time

import pytest
from recorder import Answer
from waiting import wait_until
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import serve

from mishpulse_client import watch, websocket
from mishpulse_client.failures import Failed, TimedOut
from mishpulse_client.wire import Target


class Hub:
    """A WebSocket server that does with each connection what the next of `scripts` says."""

    def __init__(self):
        self.scripts = []
        self.asked = []
        self.refusals = []
        self._server = serve(self._talk, "127.0.0.1", 0, process_request=self._greet, compression=None)
        self.url = f"http://127.0.0.1:{self._server.socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def _greet(self, connection, request):
        self.asked.append((request.path, request.headers.get("Authorization")))
        if self.refusals:
            status, headers = self.refusals.pop(0)
            response = connection.respond(http.HTTPStatus(status), '{"detail": "not now"}')
            for name, value in headers.items():
                response.headers[name] = value
            return response
        return None

    def _talk(self, connection):
        with contextlib.suppress(ConnectionClosed):
            self.scripts.pop(0)(connection)

    def close(self):
        self._server.shutdown()
        self._thread.join()


@pytest.fixture
def hub():
    made = Hub()
    yield made
    made.close()


@pytest.fixture
def connect(hub):
    opened = []

    def open_one(script, path="/ws"):
        hub.scripts.append(script)
        opened.append(websocket.open_websocket(hub.url + path, {}, 2))
        return opened[-1]

    yield open_one
    for one in opened:
        one.close()


@pytest.fixture
def following(hub, monkeypatch):
    """Runs a Watch on a thread; shows what it showed and told, and how it ended."""
    monkeypatch.setattr(watch, "backoff", lambda failures, chance: 0.01)

    class Following:
        def __init__(self):
            self.shown, self.told, self.ends = [], [], queue.Queue()

        def start(self, **settings):
            follower = watch.Watch(hub.url, "the-token", self.shown.append, self.told.append, **settings)

            def run():
                try:
                    follower.follow()
                except watch.Refused as error:
                    self.ends.put(str(error))

            self.thread = threading.Thread(target=run)
            self.thread.start()
            return follower

    made = Following()
    yield made
    hub.scripts.append(lambda connection: connection.close(1008, "the test is over"))
    made.thread.join(5)
    assert not made.thread.is_alive()


def event(number):
    return {"type": "user.created", "payload": {"n": number}, "id": str(number), "cursor": f"{number}-0"}


def send(connection, *messages):
    for message in messages:
        connection.send(json.dumps(message))


def test_text_in_both_directions(connect):
    """Masked text reaches a real server, its answers come back, of every length."""

    def echo(connection):
        for message in connection:
            connection.send(message)

    socket = connect(echo)
    for text in ("", "hello", "я" * 200, "x" * 100_000):
        socket.send(text)
        assert socket.receive(2) == text


def test_fragmented_messages(connect):
    """A message in fragments comes whole, with a ping in between answered."""
    ponged = threading.Event()

    def fragments(connection):
        def parts():
            yield "he"
            yield "llo "
            if connection.ping().wait(2):
                ponged.set()
            yield "world"

        connection.send(parts())

    socket = connect(fragments)
    assert socket.receive(3) == "hello world"
    assert ponged.wait(1)


def test_pings_are_answered_and_sent(connect):
    """The server's ping gets its pong, ours is heard."""
    latch = queue.Queue()

    def ping(connection):
        latch.put(connection.ping("payload").wait(2))
        connection.recv()

    socket = connect(ping)
    began = time.monotonic()
    with pytest.raises(TimedOut):
        socket.receive(0.3)
    assert time.monotonic() - began < 1, "answering a ping does not prolong the wait"
    assert latch.get(timeout=2)
    before = socket.heard
    socket.ping()
    with pytest.raises(TimedOut):
        socket.receive(0.2)
    assert socket.heard > before


@pytest.mark.parametrize("code", [1000, 1001, 1008, 1013, 4000])
def test_close_codes_arrive(connect, code):
    """The server's code and reason are the end of the messages."""
    socket = connect(lambda connection: connection.close(code, "a reason"))
    assert socket.receive(2) == (code, "a reason")
    assert socket.receive(0.2).code == 1006, "asked again, it is simply gone"


def test_our_close_is_polite(hub, connect):
    """The server learns the code and reason, and the closing handshake is completed."""
    ends = queue.Queue()

    def listen(connection):
        try:
            connection.recv()
        except ConnectionClosed as error:
            ends.put((error.rcvd.code, error.rcvd.reason))

    connect(listen).close(1000, "bye")
    assert ends.get(timeout=2) == (1000, "bye")


def test_a_broken_connection_is_1006(connect):
    """A server that vanishes without a close frame is not waited for."""
    socket = connect(lambda connection: connection.socket.shutdown(2))
    assert socket.receive(2).code == 1006


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 101 Sure\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: wrong\r\n\r\n",
        b"HTTP/1.1 101 Sure\r\n\r\n",
        b"220 mail.example ESMTP\r\n\r\n",
    ],
    ids=["200", "wrong accept", "no upgrade", "smtp"],
)
def test_servers_that_do_not_speak_websocket(server, raw):
    """Their answer to the handshake raises Failed and nothing else."""
    server.answers = [Answer(raw=raw)]
    with pytest.raises(Failed):
        websocket.open_websocket(server.url + "/ws", {}, 2)


def test_ws_addresses():
    """Ws and wss are http and https with their ports."""
    assert (Target("ws://h/x").port, Target("wss://h/x").port, Target("wss://h/x").secure) == (80, 443, True)


def test_resumes_where_it_broke_off(hub, following):
    """After a break the next connection asks for what came after the last event seen."""
    hub.scripts += [
        lambda connection: send(
            connection, {"type": "connection", "status": "connected"}, event(1), event(2)
        ),
        lambda connection: connection.socket.shutdown(2),
        lambda connection: (send(connection, event(3)), connection.close(1013, "too slow")),
    ]
    following.start(events="user.*")
    wait_until(lambda: event(3) in following.shown, "the third event")
    assert [message["id"] for message in following.shown if "id" in message] == ["1", "2", "3"]
    wait_until(lambda: len(hub.asked) >= 4, "another connection after 1013")
    assert [path for path, _ in hub.asked[:4]] == [
        "/ws?events=user.%2A",
        "/ws?events=user.%2A&last_event_id=2-0",
        "/ws?events=user.%2A&last_event_id=2-0",
        "/ws?events=user.%2A&last_event_id=3-0",
    ]
    assert {header for _, header in hub.asked} == {"Bearer the-token"}


def test_a_cursor_in_the_greeting_counts(hub, following):
    """A break before the first event loses nothing when the server's greeting says where it began."""
    hub.scripts += [lambda connection: send(connection, {"type": "connection", "cursor": "7-0"})]
    following.start()
    wait_until(lambda: len(hub.asked) >= 2, "a second connection")
    assert hub.asked[1][0] == "/ws?last_event_id=7-0"


def test_what_is_not_understood_is_ignored(hub, following):
    """Text that is no JSON object changes nothing; a gap is shown."""
    gap = {"type": "gap", "from": "9-0"}

    def talk(connection):
        for text in ("{", "[]", '"x"', '{"type": "pong"}'):
            connection.send(text)
        connection.send(b"\xff\xfe")
        send(connection, gap)

    hub.scripts.append(talk)
    following.start()
    wait_until(lambda: following.shown, "the gap was shown")
    assert following.shown == [gap]


def test_a_refused_token_ends_it(hub, following):
    """A 1008 is final: knocking again would only be answered 429."""
    hub.scripts.append(lambda connection: connection.close(1008, "unknown token"))
    following.start()
    assert "unknown token" in following.ends.get(timeout=3)
    assert len(hub.asked) == 1


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_handshake_ends_it(hub, following, status):
    """401 and 403 are final too, with the server's sentence."""
    hub.refusals.append((status, {}))
    following.start()
    assert str(status) in following.ends.get(timeout=3)


def test_an_overloaded_server_is_left_alone_for_a_while(hub, following):
    """429 and 503 are tried again, not before Retry-After."""
    hub.refusals.append((503, {"Retry-After": "1"}))
    hub.scripts.append(lambda connection: send(connection, event(1)))
    began = time.monotonic()
    following.start()
    wait_until(lambda: following.shown, "the event came in the end")
    assert time.monotonic() - began >= 1
    assert "trying again" in following.told[0]


def test_a_silent_server_is_found_out(hub, following, monkeypatch):
    """A connection that no longer answers pings counts as broken."""
    monkeypatch.setattr(watch, "QUIET", 0.1)
    monkeypatch.setattr(watch, "DEAD", 0.25)
    monkeypatch.setattr(websocket, "CLOSING", 0.1)
    silent = threading.Event()

    def freeze(connection):
        connection.protocol.receive_data = lambda _: None  # deaf from now on
        silent.wait(5)

    hub.scripts.append(freeze)
    following.start()
    wait_until(lambda: any("silent" in text for text in following.told), "the silence was noticed")
    silent.set()


def test_backoff_grows_and_has_an_end():
    """From half a second to half a minute, spread by chance over the upper half."""
    assert [watch.backoff(failures, 1.0) for failures in range(8)] == [0.5, 1, 2, 4, 8, 16, 30, 30]
    assert watch.backoff(10_000, 0.0) == 15


def test_a_line_for_people_obeys_no_control_characters():
    """What an event says cannot move the cursor or recolour the terminal."""
    payload = {
        "monitor": {"name": "api\x1b[2J"},
        "old_status": "alive",
        "new_status": "dead",
        "message": "it\nbroke",
    }
    line = watch.one_line({"type": "monitor.dead", "timestamp": "2025-10-16T12:00:00Z", "payload": payload})
    assert line == "2025-10-16T12:00:00Z  monitor.dead  api\\x1b[2J  alive → dead  it\\nbroke"
    assert "user.created" in watch.one_line(event(1))


def test_pulse_watch_prints_json_lines(hub, pulse_command):
    """In a pipe each event is a JSON object on its line; a refused token ends the command with 1."""
    base, environment = pulse_command
    hub.scripts += [
        lambda connection: send(connection, {"type": "connection", "message": "hello"}, event(1)),
        lambda connection: (send(connection, event(2)), connection.close(1008, "revoked")),
    ]
    done = subprocess.run(
        [*base, "watch", "--url", hub.url, "--token", "t"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=10,
        check=False,
    )
    assert done.returncode == 1
    assert [json.loads(line) for line in done.stdout.splitlines()] == [event(1), event(2)]
    assert "hello" in done.stderr
    assert "revoked" in done.stderr

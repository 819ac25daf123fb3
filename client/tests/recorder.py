"""A real HTTP server on loopback that records what it is asked and answers as it is told."""

import contextlib
import json
import ssl
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit


@dataclass
class Request:
    method: str
    path: str
    query: dict
    headers: dict
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)


@dataclass
class Answer:
    """One reply; `raw` replaces it whole, `wait` is an event that it waits for, drip sends byte by byte."""

    status: int = 200
    body: bytes = b'{"result": "ok"}'
    headers: dict = field(default_factory=dict)
    raw: bytes = b""
    wait: object = None
    drip: float = 0.0


class Recorder:
    """`answers` are used one after the other, the last one for ever."""

    def __init__(self):
        self.requests = []
        self.answers = [Answer()]
        self.released = threading.Event()  # ends every wait when the server stops
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def speak_tls(self, certificate, key):
        """From now on answer https, at a new address, with this certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._server.handle_error = lambda *_: None  # a client that does not trust us hangs up
        self.url = self.url.replace("http:", "https:")

    def hang(self):
        self.answers = [Answer(wait=self.released)]

    def next_answer(self):
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    def paths(self):
        return [request.path for request in self.requests]

    def close(self):
        self.released.set()
        self._server.shutdown()
        self._server.server_close()


def _handler(recorder):  # noqa: C901 - one class with its few branches
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self):
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length)
            url = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(url.query).items()}
            headers = {name.lower(): value for name, value in self.headers.items()}
            recorder.requests.append(Request(self.command, url.path, query, headers, body))
            self.close_connection = True
            with contextlib.suppress(OSError):  # the client has given up
                self._answer(recorder.next_answer())

        def _answer(self, answer):
            if answer.wait is not None:
                answer.wait.wait(20)
            if answer.raw:
                self.wfile.write(answer.raw)
                return
            if answer.drip:
                for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok":
                    if recorder.released.wait(answer.drip):
                        return
                    self.wfile.write(bytes([byte]))
                return
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer.body)

        do_GET = do_POST = do_HEAD = do_PUT = _serve  # noqa: N815 - http.server's names

        def log_message(self, *_):
            pass

    return Handler

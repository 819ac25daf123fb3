"""Keeps every message that is posted to it, and shows them at GET /messages; `POST /refuse` makes it answer 503."""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MESSAGES: list[dict[str, Any]] = []
REFUSED: list[str] = []
REFUSING = [False]


class Handler(BaseHTTPRequestHandler):
    """One request; messages are kept with their path and headers."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.answer(200, {"messages": MESSAGES, "refused": len(REFUSED)})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0)).decode()
        if self.path == "/refuse":
            REFUSING[0] = True
            self.answer(200, {})
        elif REFUSING[0]:
            REFUSED.append(self.path)
            self.answer(503, {})
        else:
            headers = {name.lower(): value for name, value in self.headers.items()}
            MESSAGES.append({"path": self.path, "headers": headers, "body": body})
            self.answer(200, {})

    def answer(self, status: int, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """No log: what arrived is asked for."""


if __name__ == "__main__":
    ThreadingHTTPServer(("0.0.0.0", 9100), Handler).serve_forever()

"""The API over the network, by the standard library alone: a verb starts at once."""

import http.client
import urllib.error
import urllib.request
from typing import Any, Final

from shared.errors import PulseError

WITHIN: Final = 40.0
"""Seconds: a channel's test may take 20."""


class _Stay(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: it would turn a POST into a GET, and carry the token elsewhere."""

    def redirect_request(self, *_arguments: Any) -> None:
        return None


class RemoteApi:
    """The API at `url`, asked with `token`."""

    def __init__(self, url: str, token: str) -> None:
        self._url = url
        self._headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        self._opener = urllib.request.build_opener(_Stay)

    def send(self, method: str, target: str, body: bytes | None) -> tuple[int, bytes]:
        """See `Api`."""
        try:
            request = urllib.request.Request(self._url + target, body, self._headers, method=method)  # noqa: S310 - http(s), see place
            with self._opener.open(request, timeout=WITHIN) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()
        except (OSError, http.client.HTTPException, ValueError) as error:
            reason = getattr(error, "reason", None) or error
            raise PulseError(
                f"no answer from {self._url} ({reason}): start the server, or correct --url or PULSE_URL"
            ) from None

    def close(self) -> None:
        """Nothing stays open."""

"""The end of a command's output, however much there was."""

from __future__ import annotations

from .beats import MESSAGE_LIMIT


class Tail:
    """Keeps the last bytes that were added, in at most twice the limit of memory."""

    def __init__(self, limit: int = MESSAGE_LIMIT) -> None:
        self._limit = limit
        self._kept = bytearray()
        self._cut = False

    def add(self, data: bytes) -> None:
        """Append output; what is too old is forgotten."""
        self._kept += data[-self._limit :]
        self._cut = self._cut or len(data) > self._limit or len(self._kept) > self._limit
        if len(self._kept) > 2 * self._limit:
            del self._kept[: -self._limit]

    def text(self, note: str = "") -> str:
        """The last bytes as text that is no longer than the limit in UTF-8, a note of our own at its end.

        A character cut in two at the front is dropped; a byte that is no UTF-8 becomes U+FFFD, three bytes.
        """
        kept = bytes(self._kept[-self._limit :])
        if self._cut:
            start = next((i for i, byte in enumerate(kept[:4]) if byte & 0xC0 != 0x80), 0)
            kept = kept[start:]
        text = kept.decode("utf-8", "replace")
        if note:
            text = f"{text.rstrip()}\n{note}".lstrip()
        return text.encode()[-self._limit :].decode("utf-8", "ignore")

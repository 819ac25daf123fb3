"""Words from outside, made harmless to look at. Pure.

Names, messages and payloads are written by whoever holds a token. Escaping is the business of each form
(HTML, a header, JSON); what is done here holds for all of them: no control characters that act on a terminal
or a header, and no direction marks that make a text read as another one.
"""

import re

_TERMINAL = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)?|[@-Z\\-_])")
_LINE_ENDS = re.compile(r"\r\n?|[\x0b\x0c\x85\u2028\u2029]")
_DIRECTION = re.compile(
    r"[\u061c\u200e\u200f\u202a-\u202e\u2066-\u206f\ufeff\ufff9-\ufffb]|[\U000e0000-\U000e007f]"
)
_BROKEN = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def block(text: str) -> str:
    """`text` with plain line breaks, spaces for tabs, and without colour codes and direction marks.

    Every other control character, and half of a surrogate pair, becomes a visible replacement character.
    """
    if text.isascii() and text.isprintable():  # nearly always
        return text.strip()
    text = _LINE_ENDS.sub("\n", _TERMINAL.sub("", text)).replace("\t", "    ")
    return _BROKEN.sub("\ufffd", _DIRECTION.sub("", text)).strip()


def line(text: str, limit: int = 200) -> str:
    """The same in one line of at most `limit` characters."""
    joined = " ".join(block(text[: 4 * limit]).split())
    return joined if len(joined) <= limit else joined[: limit - 1].rstrip() + "…"

"""Telegram's HTML as the Bot API reads it: the text that is left, or the error it answers."""

import re
from html import unescape

TAGS = {
    "a", "b", "blockquote", "code", "del", "em", "i", "ins", "pre", "s", "span", "strike", "strong",
    "tg-emoji", "tg-spoiler", "u",
}  # fmt: skip

_TAG = re.compile(
    r"<(/?)([A-Za-z][A-Za-z0-9-]*)((?:\s+[A-Za-z-]+(?:=(?:\"[^\"]*\"|'[^']*'|[^\s>\"']+))?)*)\s*>"
)
_ENTITY = re.compile(r"&(?:lt|gt|amp|quot|#[0-9]{1,7}|#x[0-9a-fA-F]{1,6});")


class EntityError(ValueError):
    """The description that follows `Bad Request: can't parse entities: `."""


def parse(text: str) -> str:
    """The text without tags and entities; raises EntityError where the Bot API refuses it."""
    plain: list[str] = []
    open_tags: list[str] = []
    position = 0
    while position < len(text):
        offset = len(text[:position].encode())
        if text[position] == "<":
            found = _TAG.match(text, position)
            if found is None or found[2].lower() not in TAGS:
                name = found[2] if found else ""
                raise EntityError(f'Unsupported start tag "{name}" at byte offset {offset}')
            name = found[2].lower()
            if not found[1]:
                open_tags.append(name)
            elif not open_tags or open_tags.pop() != name:
                raise EntityError(f'Unexpected end tag "{name}" at byte offset {offset}')
            position = found.end()
            continue
        entity = _ENTITY.match(text, position)
        plain.append(unescape(entity[0]) if entity else text[position])
        position = entity.end() if entity else position + 1
    if open_tags:
        raise EntityError(f'Can\'t find end tag corresponding to start tag "{open_tags[-1]}"')
    return "".join(plain)


def units(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2

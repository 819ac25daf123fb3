"""Event types and the patterns that choose among them. Pure."""

import re
from collections.abc import Sequence

TYPE = re.compile(r"[a-z0-9_]+(\.[a-z0-9_]+)+")
PATTERN = re.compile(r"\*|[a-z0-9_]+(\.[a-z0-9_]+)*\.\*|[a-z0-9_]+(\.[a-z0-9_]+)+")
MAX_TYPE = 50


def matches(pattern: str, event_type: str) -> bool:
    """Whether a subscription to `pattern` (a type, `prefix.*` or `*`) wants `event_type`."""
    if pattern == "*":
        return True
    if pattern.endswith(".*"):
        return event_type.startswith(pattern[:-1])
    return pattern == event_type


def check_patterns(patterns: Sequence[str]) -> tuple[str, ...]:
    """The patterns without repetition, in their order; raises ValueError that names the first bad one."""
    for pattern in patterns:
        if len(pattern) > MAX_TYPE or not PATTERN.fullmatch(pattern):
            raise ValueError(
                f"{pattern[:60]!r} is no event type such as monitor.dead, nor a pattern such as monitor.*."
            )
    return tuple(dict.fromkeys(patterns))

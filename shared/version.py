"""Which MishPulse this is."""

from functools import cache
from importlib import metadata


@cache
def version() -> str:
    """The installed version; "0" in a checkout that was never installed."""
    try:
        return metadata.version("mishpulse")
    except metadata.PackageNotFoundError:
        return "0"

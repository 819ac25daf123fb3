"""What can go wrong between this program and the server, as sentences for a log."""

from __future__ import annotations


class Failed(Exception):  # noqa: N818 - reads as what happened: "except Failed"
    """The server was not reached or did not accept; the text says why and never holds a token."""


class TimedOut(Failed):
    """The time given for a call is used up."""

    def __init__(self, text: str = "no answer in time") -> None:
        super().__init__(text)


def describe(error: BaseException) -> str:
    """The exception's class and text; one whose own text raises keeps its class."""
    name = type(error).__name__
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - a broken __str__ must not hide the program's own exception
        return name
    return f"{name}: {text}" if text else name

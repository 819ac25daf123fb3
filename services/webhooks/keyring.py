"""The box that seals and opens this service's secrets."""

from pathlib import Path

from shared.secrets import SecretBox, load_key
from shared.settings import Settings


def open_box(settings: Settings) -> SecretBox:
    """The box of these settings; ConfigError that says what to do when they name no usable key."""
    file = Path(settings.secret_key_file) if settings.secret_key_file else None
    return load_key(settings.secret_key, file)

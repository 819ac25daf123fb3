"""Encryption of channels' and webhooks' secrets at rest.

A sealed secret is `v1.<key id>.<base64url of nonce + ciphertext + tag>`: AES-256-GCM with a random 96-bit
nonce, so one key is good for some four billion secrets. Its place (`channel:3:bot_token`) is the associated
data: a ciphertext copied to another place does not open there.

To rotate: put the new key in front of the old (`PULSE_SECRET_KEY=new,old`, or a new first line in the key
file), restart, save each channel and webhook again (`SecretBox.current` tells which are left), then drop the
old key.
"""

import base64
import binascii
import hashlib
import os
import secrets
import tempfile
from collections.abc import Sequence
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from shared.errors import ConfigError

KEY_BYTES = 32
NONCE_BYTES = 12
VERSION = "v1"

_STANDARD = str.maketrans("-_", "+/")

MASK = "••••"
"""What stands for a secret in answers of the API."""


class SecretBox:
    """Seals with its first key and opens with any of them. Keys are 32 bytes each."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        if not keys or any(len(key) != KEY_BYTES for key in keys):
            raise ConfigError(f"A secret key must have {KEY_BYTES} bytes, and at least one is needed.")
        self._keys = {key_id(key): AESGCM(key) for key in keys}
        self._first = key_id(keys[0])

    def __repr__(self) -> str:
        return f"SecretBox(keys={list(self._keys)})"

    def seal(self, secret: str, place: str) -> str:
        """The ciphertext of `secret` for `place`, as printable ASCII."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        sealed = self._keys[self._first].encrypt(
            nonce, secret.encode("utf-8", "surrogatepass"), place.encode()
        )
        return f"{VERSION}.{self._first}.{base64.urlsafe_b64encode(nonce + sealed).decode()}"

    def open(self, sealed: str, place: str) -> str:
        """The secret that was sealed for `place`.

        Raises ConfigError when its key is not among ours, or when it was sealed for another place or damaged.
        """
        version, _, rest = sealed.partition(".")
        name, _, text = rest.partition(".")
        if version != VERSION or not text:
            raise ConfigError(f"The secret of {place} is not encrypted in a form known here.")
        key = self._keys.get(name)
        if key is None:
            raise ConfigError(
                f"The secret of {place} was encrypted with the key {name}, which is not here; "
                "add that key to PULSE_SECRET_KEY or restore its key file, or enter the secret again."
            )
        try:
            raw = base64.b64decode(text, altchars=b"-_", validate=True)
            return key.decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], place.encode()).decode(
                "utf-8", "surrogatepass"
            )
        except (InvalidTag, binascii.Error, ValueError):
            raise ConfigError(
                f"The secret of {place} is damaged or was moved there; enter it again."
            ) from None

    def current(self, sealed: str) -> bool:
        """Whether it was sealed with the first key, so that no rotation is left to do for it."""
        return sealed.startswith(f"{VERSION}.{self._first}.")


def key_id(key: bytes) -> str:
    """The short public name of a key."""
    return hashlib.sha256(b"mishpulse key id" + key).hexdigest()[:8]


def new_key() -> str:
    """A key as PULSE_SECRET_KEY wants it."""
    return base64.urlsafe_b64encode(secrets.token_bytes(KEY_BYTES)).decode()


def load_key(secret_key: str, key_file: Path | None, *, create: bool = False) -> SecretBox:
    """The box for these settings: `secret_key` (PULSE_SECRET_KEY) where it is set, else the key file.

    With `create` a missing file is made, with mode 0600; of processes that start together one makes it and
    the others read it. Raises ConfigError that says what to do, never what the key is.
    """
    if secret_key.strip():
        return SecretBox(parse_keys(secret_key, "PULSE_SECRET_KEY"))
    if key_file is None:
        raise ConfigError("No key for secrets: set PULSE_SECRET_KEY or PULSE_SECRET_KEY_FILE.")
    try:
        if create and not key_file.exists():
            _make(key_file)
        text = key_file.read_text("ascii")
    except FileNotFoundError:
        raise ConfigError(
            f"The key file {key_file} is missing: set PULSE_SECRET_KEY, or let the first start make the file."
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not ASCII text"
        raise ConfigError(f"The key file {key_file} cannot be used: {reason}.") from None
    return SecretBox(parse_keys(text, f"the key file {key_file}"))


def parse_keys(text: str, name: str) -> list[bytes]:
    """The keys of a list separated by commas or lines; raises ConfigError that counts to the wrong one."""
    keys: list[bytes] = []
    parts = [part for part in text.replace(",", " ").split() if part]
    for number, part in enumerate(parts, 1):
        try:
            padded = part.rstrip("=") + "=" * (-len(part.rstrip("=")) % 4)
            key = base64.b64decode(padded.translate(_STANDARD), validate=True)
        except (binascii.Error, ValueError):
            key = b""
        if len(key) != KEY_BYTES:
            raise ConfigError(
                f"Key {number} in {name} must be 32 bytes in base64 (44 characters); "
                "`openssl rand -base64 32` makes one."
            )
        keys.append(key)
    if not keys:
        raise ConfigError(f"There is no key in {name}.")
    return keys


def _make(path: Path) -> None:
    """Writes a new key beside `path` and links it there: whole or not at all, and never over another's."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(new_key() + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.link(temporary, path)
    except FileExistsError:
        pass  # another process was first; its key counts
    finally:
        Path(temporary).unlink(missing_ok=True)


def mask(value: str) -> str:
    """What the API shows of a secret: its last four characters when it is long enough to keep the rest
    unknown.
    """
    return MASK + value[-4:] if len(value) >= 16 else MASK

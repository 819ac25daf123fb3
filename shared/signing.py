"""Signatures of what we send and of what signed telemetry sends us. Pure.

Standard Webhooks: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence

SECRET_PREFIX = "whsec_"  # noqa: S105 - the prefix that marks a secret, not one


def headers(
    event_type: str, event_id: str, webhook_id: str, body: bytes, secrets: Sequence[str], timestamp: int
) -> dict[str, str]:
    """Every header that tells a receiver what came, and proves from whom.

    `timestamp` in Unix seconds is the attempt's; `event_id` is the same on every attempt. `secrets` are the
    newest first, more than one only while a rotation lasts: all of them sign in `webhook-signature`, the
    newest alone in `X-Webhook-Signature`, which has room for one. Without a secret nothing is signed. Line
    breaks and other control characters are dropped from what the caller names, so that no header can be
    smuggled in.
    """
    secrets = [secret for secret in secrets if secret]
    identity = header_text(event_id)
    result = {
        "Content-Type": "application/json",
        "X-Webhook-Event": header_text(event_type),
        "X-Webhook-Id": header_text(webhook_id),
        "webhook-id": identity,
        "webhook-timestamp": str(timestamp),
    }
    if secrets:
        result["X-Webhook-Signature"] = f"sha256={hex_digest(body, secrets[0])}"
        result["webhook-signature"] = " ".join(standard(identity, timestamp, body, s) for s in secrets)
    return result


def hex_digest(body: bytes, secret: str) -> str:
    """HMAC-SHA256 of the raw body under the secret's own bytes, as hex."""
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def standard(event_id: str, timestamp: int, body: bytes, secret: str) -> str:
    """One `v1,<base64>` of Standard Webhooks over `id.timestamp.body`."""
    content = b".".join((event_id.encode(), str(timestamp).encode(), body))
    digest = hmac.new(signing_key(secret), content, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


def signing_key(secret: str) -> bytes:
    """The key of Standard Webhooks: `whsec_<base64>` decoded, any other secret as its bytes."""
    if secret.startswith(SECRET_PREFIX):
        try:
            return base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
        except (binascii.Error, ValueError):
            pass
    return secret.encode()


def verify_hmac(body: bytes, signature: str | None, secret: str) -> bool:
    """Whether `signature`, hex with or without `sha256=` before it, is the HMAC-SHA256 of `body`.

    Takes the same time wherever a wrong one differs. False for no signature and for an empty secret.
    """
    if not signature or not secret:
        return False
    given = signature.strip().lower().removeprefix("sha256=")
    return hmac.compare_digest(given.encode("utf-8", "replace"), hex_digest(body, secret).encode())


def header_text(value: str) -> str:
    """`value` as it arrives from a header: printable ASCII without spaces around it."""
    return "".join(character for character in value if " " <= character <= "~").strip()

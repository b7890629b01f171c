"""A key's secret: it is seen once, by whoever makes it; then there is only its hash."""

from __future__ import annotations

import hashlib
import secrets
from typing import get_args

from cap_server.domain import Key, Right

RIGHTS: tuple[Right, ...] = get_args(Right)

_HASHED = "sha256:"


def new_secret() -> str:
    """256 random bits, marked as ours so that scanners of code and logs recognise a leaked one."""
    return f"cap_{secrets.token_urlsafe(32)}"


def digest_of(secret: str) -> str:
    """The hash that stands for `secret`.

    Plain SHA-256 is right here. Slow, salted hashes protect what people choose and others can
    guess; 256 random bits cannot be guessed, and every request pays for the hash. A keyed hash
    would only add a second secret, which replicas and `cap keys` would have to share.
    """
    return hashlib.sha256(secret.encode()).hexdigest()


def given_key(text: str, *, rights: frozenset[Right]) -> Key:
    """The key that one entry of CAP_API_KEYS stands for: a secret, or `sha256:` and its hash."""
    hashed = text.removeprefix(_HASHED) if text.startswith(_HASHED) else digest_of(text)
    return Key(id=f"env_{hashed[:8]}", name="CAP_API_KEYS", digest=hashed.lower(), rights=rights)

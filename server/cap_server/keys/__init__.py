"""API keys: who may use the server, for what, and how much."""

from cap_server.keys.access import Access, access_of, is_loopback
from cap_server.keys.key import RIGHTS, digest_of, given_key, new_secret
from cap_server.keys.keyring import Keyring
from cap_server.keys.turnstile import Turnstile

__all__ = [
    "RIGHTS", "Access", "Keyring", "Turnstile", "access_of", "digest_of", "given_key",
    "is_loopback", "new_secret",
]  # fmt: skip

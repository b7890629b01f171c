"""Who can reach the server, and who of them may use it."""

from __future__ import annotations

import ipaddress
from typing import Literal

from cap_server.keys.keyring import Keyring

Access = Literal["keys", "unknown", "loopback", "open"]
"""`keys`: whoever has a key. `unknown`: nobody, until the database says whether there are keys.
`loopback`: whoever is on this machine. `open`: whoever reaches it, as the operator asked."""


def access_of(keyring: Keyring, *, host: str, open_: bool) -> Access | None:
    """Who may use a server that listens on `host`; None: nobody may, and it should not start."""
    if keyring.state != "none":
        return keyring.state
    if is_loopback(host):
        return "loopback"
    return "open" if open_ else None


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches `host`. Of names, `localhost` alone counts."""
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback

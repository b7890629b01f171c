"""Where the server is, what it is sent with every request, and how patient a client is."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from cap_client._retries import Retries
from cap_client._version import __version__

DEFAULT_URL = "http://127.0.0.1:8000"


@dataclass(frozen=True, slots=True)
class Configuration:
    """A client's.

    Attributes:
        base_url: the server's root, without a slash at its end.
        api_key: kept out of what is printed.
        timeout_s: seconds of silence after which a connection counts as broken.
    """

    base_url: str
    api_key: str | None = field(repr=False)
    timeout_s: float
    retries: Retries

    @classmethod
    def of(
        cls, base_url: str | None, api_key: str | None, *, timeout_s: float, retries: Retries
    ) -> Configuration:
        """What the arguments say, else `CAP_BASE_URL` and `CAP_API_KEY`, else the default.

        Raises:
            ValueError: one of them cannot be right.
        """
        url = base_url or os.environ.get("CAP_BASE_URL") or DEFAULT_URL
        key = api_key or os.environ.get("CAP_API_KEY") or None
        if not url.lower().startswith(("http://", "https://")):
            raise ValueError(f"the server's URL has to begin with http:// or https://: {url!r}")
        if key is not None and not (key.isascii() and key.isprintable() and " " not in key):
            raise ValueError("the API key has characters that no header can carry")
        if not timeout_s > 0:
            raise ValueError(f"timeout_s has to be above 0: {timeout_s}")
        # Whoever used OpenAI's client has the `/v1` at hand.
        return cls(url.rstrip("/").removesuffix("/v1"), key, timeout_s, retries)

    def headers(self) -> dict[str, str]:
        sent = {"User-Agent": f"cap-client/{__version__}"}
        return sent | ({"Authorization": f"Bearer {self.api_key}"} if self.api_key else {})

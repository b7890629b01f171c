"""What must not be told, and how it is kept from being told.

Nobody here means to write a key down. Others do: a model's server that refuses a key may repeat it,
and so may the text of an exception.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Iterable, Iterator
from urllib.parse import quote, unquote, urlsplit

from pydantic import BaseModel, SecretStr

HIDDEN = "********"

_SHORTEST = 8
"""Characters. What is shorter would be found in words that tell nothing."""

_CREDENTIALS = re.compile(r"(?<=//)[^/?#@\s]*@")


class Mask:
    """Hides secrets in whatever text holds them.

    Args:
        secrets: as they are; those of fewer than 8 characters are left alone.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        known = {form for each in secrets if len(each) >= _SHORTEST for form in _forms(each)}
        # The longest first: one may begin as another does.
        ordered = sorted(known, key=len, reverse=True)
        self._any = re.compile("|".join(map(re.escape, ordered))) if ordered else None

    def __call__(self, text: str) -> str:
        return self._any.sub(HIDDEN, text) if self._any else text


def without_credentials(urls: str) -> str:
    """`urls` as people may see them: no names and passwords before their hosts."""
    return _CREDENTIALS.sub(f"{HIDDEN}@", urls)


def secrets_of(settings: BaseModel) -> frozenset[str]:
    """Every key and password in `settings`, also those within URLs and lists."""
    return frozenset(_secrets_of(settings))


def _secrets_of(settings: BaseModel) -> Iterator[str]:
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        secret = isinstance(value, SecretStr)
        text = value.get_secret_value() if secret else str(value)
        for each in text.split(","):
            if "//" in each:
                yield from _password_of(each)
            elif secret:
                yield each


def _password_of(url: str) -> Iterator[str]:
    try:
        parts = urlsplit(url)
    except ValueError:
        return
    if parts.password:
        name, password = unquote(parts.username or ""), unquote(parts.password)
        yield password
        yield b64encode(f"{name}:{password}".encode()).decode()  # as a header says it


def _forms(secret: str) -> set[str]:
    """As it stands in text, in JSON and in URLs."""
    return {secret, json.dumps(secret)[1:-1], quote(secret, safe=""), quote(secret)}

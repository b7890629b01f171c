"""Strategies as the command line writes them: `majority:programs=12,overrule=0.7`."""

from __future__ import annotations

import json
from typing import Any


def strategy_of(text: str) -> dict[str, Any]:
    """A strategy as the API takes it; the server checks names and ranges.

    Raises:
        ValueError: it is not `NAME` or `NAME:PARAMETER=VALUE,…`.
    """
    name, _, parameters = text.partition(":")
    strategy: dict[str, Any] = {"name": name}
    for each in filter(None, parameters.split(",")):
        key, equals, value = each.partition("=")
        if not equals:
            raise ValueError(f"--strategy {text}: expected NAME:PARAMETER=VALUE,…")
        try:
            strategy[key] = json.loads(value)
        except ValueError:
            strategy[key] = value
    return strategy

"""Whole numbers as JSON has them."""

from __future__ import annotations

from pydantic import BeforeValidator


def _as_int(value: object) -> object:
    return int(value) if isinstance(value, float) and value.is_integer() else value


ALSO_AS_FLOAT = BeforeValidator(_as_int)
"""Lets a strict `int` be written `8.0` too: JSON has one kind of number. Name it last, or pydantic
leaves the range out of the schema."""

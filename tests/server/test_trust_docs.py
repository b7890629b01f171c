"""The example of `docs/trust.md`, executed."""

from __future__ import annotations

import doctest
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs/trust.md"


def test_the_example_prints_what_the_page_says() -> None:
    assert doctest.testfile(str(PAGE), module_relative=False).failed == 0

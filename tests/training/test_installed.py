"""Whether the tests of training can run here; where not, the report says so."""

from __future__ import annotations

import importlib.util

import pytest


def test_training_is_installed() -> None:
    if importlib.util.find_spec("trl") is None:
        pytest.skip("the trainers' tests were left out: no TRL here; `make setup-train`")

"""What stays for good is not collected again and again."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from cap_server.garbage import settle


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    thresholds = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*thresholds)


def test_what_there_is_is_left_out_and_what_comes_is_collected() -> None:
    here = len(gc.get_objects())
    settle()
    assert gc.get_freeze_count() >= here / 2
    circle: list[object] = []
    circle.append(circle)
    found = gc.collect()
    assert found == 0
    del circle
    assert gc.collect() == 1

"""`make bench` writes between markers that its pages have."""

from __future__ import annotations

from pathlib import Path

import pytest
from everything import BENCHMARKS, Benchmark, written

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("benchmark", BENCHMARKS, ids=lambda each: each.name)
def test_its_page_takes_what_it_prints_and_keeps_the_rest(benchmark: Benchmark) -> None:
    assert (ROOT / "benchmarks" / benchmark.command[0]).exists()
    page = (ROOT / "docs" / benchmark.page).read_text("utf-8")
    once = written(page, benchmark.name, "| a table |")
    assert once.count("| a table |") == page.count("| a table |") + 1
    assert written(once, benchmark.name, "| a table |") == once
    heads = [line for line in page.splitlines() if line.startswith("#")]
    assert [line for line in once.splitlines() if line.startswith("#")] == heads


def test_a_page_without_markers_is_not_touched() -> None:
    with pytest.raises(ValueError, match="no markers"):
        written("# A page\n", "peers", "| a table |")

"""The examples of `docs/answers.md` run as they are written."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

from cap_server import answers
from cap_server.domain import Answer

_PAGE = Path(__file__).parents[2] / "docs" / "answers.md"


def test_the_examples_hold() -> None:
    text = re.sub(r"^```.*$", "", _PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    page = doctest.DocTestParser().get_doctest(text, {}, "answers", str(_PAGE), 0)

    assert len(page.examples) >= 12
    assert doctest.DocTestRunner().run(page).failed == 0


def test_the_pairs_of_the_table_hold() -> None:
    rows = [line.split("|") for line in _PAGE.read_text(encoding="utf-8").splitlines()]
    columns = [(row[2:4]) for row in rows if len(row) == 5 and "`" in row[2]]
    assert len(columns) >= 12

    for same, different in columns:
        for group in same.split(";"):
            first, *others = re.findall(r"`([^`]*)`", group)
            assert all(answers.same(Answer(first), Answer(other)) for other in others), group
        for group in different.split(";"):
            pair = re.findall(r"`([^`]*)`", group)
            assert len(pair) < 2 or answers.same(*map(Answer, pair)) is False, group

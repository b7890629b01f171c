"""Nonsense questions."""

from __future__ import annotations

import random

from cap_training.data.mentions import mentions
from cap_training.data.mixture import Mixture, Recipe, Sources
from cap_training.data.nonsense import Nonsense

QUESTION = "Tom had 12 apples and ate twice as many pears. Tom ate seven. How many apples are left?"


def words(text: str) -> list[str]:
    return [word.strip(".,?").lower() for word in text.split()]


def test_numbers_stay_where_they_are_and_words_do_not() -> None:
    strange = Nonsense()
    strange.see("A librarian stacked ninety green books beside the tall window.", random.Random(1))
    changed = 0
    for seed in range(50):
        text = strange.of(QUESTION, random.Random(seed))
        assert [m.value for m in mentions(text)] == [m.value for m in mentions(QUESTION)]
        assert "twice" in text
        before, after = words(QUESTION), words(text)
        assert len(after) == len(before)
        assert len({new for old, new in zip(before, after, strict=True) if old == "tom"}) == 1
        changed += sum(old != new for old, new in zip(before, after, strict=True))
    assert changed > 50 * 4


def test_nothing_but_the_seed_decides() -> None:
    texts = []
    for _ in range(2):
        strange = Nonsense()
        strange.see(QUESTION, random.Random(3))
        texts.append(strange.of(QUESTION, random.Random(4)))
    assert texts[0] == texts[1]


def test_only_training_rows_with_a_cot_have_such_questions() -> None:
    plain, strange = (
        Recipe(rows=400, shares={"synthetic_en": 1}, nonsense=share) for share in (0.0, 1.0)
    )
    known = {word for row in Mixture(plain, Sources()).rows() for word in words(row.question)}
    foreign: dict[bool, list[int]] = {True: [], False: []}
    for row in Mixture(strange, Sources()).rows():
        if row.kind != "critic":
            new = sum(word not in known for word in words(row.question))
            foreign[row.kind == "nonsense"].append(new)
            assert (row.kind == "nonsense") == (row.cot is not None)
    assert sum(foreign[True]) / len(foreign[True]) > 4
    assert sum(foreign[False]) / len(foreign[False]) < 3
    for split in ("dev", "test"):
        measured = [list(Mixture(each, Sources(), split=split).rows()) for each in (plain, strange)]
        assert measured[0] == measured[1]

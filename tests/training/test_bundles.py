"""Batches of rows of like length."""

from __future__ import annotations

import numpy as np
import pytest

from cap_training.bundles import IGNORED, Bundles
from cap_training.rows import Tokens

PAD = 0


def tokens(lengths: list[int]) -> Tokens:
    """Rows whose tokens are their number, counted from 1; the first two are the prompt."""
    ids = [np.full(length, row + 1, dtype=np.int32) for row, length in enumerate(lengths)]
    starts = np.cumsum([0, *lengths], dtype=np.int64)
    return Tokens(np.concatenate(ids), starts, np.full(len(lengths), 2, dtype=np.int32))


def lengths_at_random(count: int) -> list[int]:
    return [int(n) for n in np.random.default_rng(0).integers(3, 120, count)]


def bundles(lengths: list[int], *, batch_tokens: int = 512, seed: int = 0) -> Bundles:
    return Bundles(tokens(lengths), batch_tokens=batch_tokens, pad=PAD, seed=seed)


def test_every_token_of_every_row_is_in_one_batch() -> None:
    lengths = lengths_at_random(500)
    made = bundles(lengths)
    counted = np.zeros(len(lengths) + 1, dtype=int)
    for index in range(len(made)):
        ids = made[index]["input_ids"].numpy()
        counted += np.bincount(ids.ravel(), minlength=len(lengths) + 1)
    assert counted[1:].tolist() == lengths


def test_the_loss_is_asked_for_on_completions_only() -> None:
    made = bundles([5, 9])
    batch = made[0]
    for ids, labels in zip(batch["input_ids"].tolist(), batch["labels"].tolist(), strict=True):
        length = sum(token != PAD for token in ids)
        assert labels[:2] == [IGNORED, IGNORED]
        assert labels[2:length] == ids[2:length]
        assert set(labels[length:]) <= {IGNORED}


def test_batches_stay_within_their_tokens_and_waste_little() -> None:
    made = bundles(lengths_at_random(2000), batch_tokens=1024)
    assert all(made[index]["input_ids"].numel() <= 1024 for index in range(len(made)))
    assert made.waste() < 0.1


def test_a_row_longer_than_a_batch_is_a_batch_by_itself() -> None:
    made = bundles([700, 10, 10], batch_tokens=512)
    assert sorted(len(made[index]["input_ids"]) for index in range(len(made))) == [1, 2]


def test_the_seed_decides_which_rows_stand_together() -> None:
    lengths = [10] * 200

    def first(seed: int) -> list[int]:
        return [int(n) for n in bundles(lengths, seed=seed)[0]["input_ids"][:, 0]]

    assert first(1) == first(1) != first(2)


def test_collating_gives_the_batch_of_that_number() -> None:
    made = bundles([10] * 200)
    (number,) = made.numbered()[3:4]["bundle"]
    batch = made.collate([{"bundle": number}])
    assert batch["input_ids"].equal(made[3]["input_ids"])
    with pytest.raises(ValueError, match="unpack"):
        made.collate([{"bundle": 0}, {"bundle": 1}])

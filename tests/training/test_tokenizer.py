"""The tokenizer of small models."""

from __future__ import annotations

from typing import Any

import pytest

from cap_training.tokenizer import END, train_tokenizer

TEXTS = [
    "Tom has 12 boxes with 8 pencils in each.",
    "小明有12支铅笔。",
    "answer=a*2\n# prior: wrong",
]


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return train_tokenizer(TEXTS * 20, vocabulary=2048, context=128)


@pytest.mark.parametrize(
    ("number", "groups"),
    [
        ("7", ["7"]),
        ("999", ["999"]),
        ("104", ["104"]),
        ("431", ["431"]),
        ("1000", ["1", "000"]),
        ("1234567", ["1", "234", "567"]),
        ("12.75", ["12", ".", "75"]),
    ],
)
def test_numbers_are_groups_of_three_digits_from_the_right_seen_or_not(
    tokenizer: Any, number: str, groups: list[str]
) -> None:
    assert tokenizer.tokenize(number) == groups


@pytest.mark.parametrize("text", [*TEXTS, "never seen: ½ € 🙂 \t x", "1,234,567.89"])
def test_every_text_comes_back_as_it_was(tokenizer: Any, text: str) -> None:
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_a_conversation_ends_with_the_mark_that_ends_generation(tokenizer: Any) -> None:
    messages = [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "answer=4"}]
    opened = tokenizer.apply_chat_template(messages[:1], tokenize=False, add_generation_prompt=True)
    whole = tokenizer.apply_chat_template(messages, tokenize=False)
    assert whole == f"{opened}answer=4{END}"
    assert tokenizer.eos_token == END
    assert tokenizer(whole)["input_ids"][-1] == tokenizer.eos_token_id


def test_the_vocabulary_stays_within_what_was_asked_for(tokenizer: Any) -> None:
    assert len(tokenizer) <= 2048

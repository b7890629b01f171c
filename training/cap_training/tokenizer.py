"""A small byte-level BPE tokenizer, trained on the rows that the model will see.

Numbers are cut into groups of one to three digits from the right, as they are written with
thousands separators, and every such group is one token whether the training text had it or not:
the model copies and compares numbers, it does not spell them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

PAD, USER, ASSISTANT, END = "<|pad|>", "<|user|>", "<|assistant|>", "<|end|>"
SPECIAL = (PAD, USER, ASSISTANT, END)
GROUPS = r"\d{1,3}(?=(?:\d{3})*(?!\d))"

CHAT_TEMPLATE = (
    "{% for m in messages %}"
    "{% if m['role']=='user' %}<|user|>{{ m['content'] }}"
    "{% elif m['role']=='assistant' %}<|assistant|>{{ m['content'] }}<|end|>{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def train_tokenizer(
    texts: Iterable[str], *, vocabulary: int, context: int
) -> PreTrainedTokenizerFast:
    """Trains a tokenizer of at most `vocabulary` tokens on `texts`.

    Args:
        texts: what the model will read and write; the tokenizer sees their words, not their digits.
        vocabulary: 2,048 or more; 1,370 of them are bytes, numbers and marks.
        context: the longest sequence of the model, for the tokenizer's own record.
    """
    learned = Tokenizer(models.BPE())
    learned.pre_tokenizer = _pre_tokenizer()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary - len(SPECIAL) - len(_number_groups()),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    learned.train_from_iterator(_without_digits(texts), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=_with_numbers(learned),
        pad_token=PAD,
        eos_token=END,
        additional_special_tokens=[USER, ASSISTANT],
        model_max_length=context,
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
    )


def _pre_tokenizer() -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(GROUPS), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )


def _without_digits(texts: Iterable[str]) -> Iterator[str]:
    table = {ord(digit): None for digit in "0123456789"}
    return (text.translate(table) for text in texts)


def _number_groups() -> list[str]:
    """Every group of two and three digits; the ten digits are bytes and there already."""
    return [f"{n:02d}" for n in range(100)] + [f"{n:03d}" for n in range(1000)]


def _with_numbers(learned: Tokenizer) -> Tokenizer:
    """`learned` with the marks first, then bytes, number groups, and what was learned."""
    model = json.loads(learned.to_str())["model"]
    found = sorted(model["vocab"], key=model["vocab"].__getitem__)
    alphabet = [token for token in found if len(token) == 1]
    words = [token for token in found if len(token) > 1]
    tokens = [*SPECIAL, *alphabet, *_number_groups(), *words]
    merges = [(group[:-1], group[-1]) for group in _number_groups()]
    merges += [tuple(pair) for pair in model["merges"]]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    # Whole tokens first: by merges alone 104 would be 1 and 04, which is made before 10 is.
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, ignore_merges=True))
    tokenizer.pre_tokenizer = _pre_tokenizer()
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(list(SPECIAL))
    return tokenizer

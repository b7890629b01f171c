"""A small model that begins with the first layers and the words of a large one.

The first layers of a language model know what words mean and how they go together; a small model
that starts from them needs far less text than one that starts from nothing. Sources: keeping the
first layers, Inheritune, arXiv 2404.08634; new words whose vectors are the means of their pieces',
fast vocabulary transfer, arXiv 2402.09977.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from cap_training import models
from cap_training.export import export
from cap_training.failures import RunError
from cap_training.tokenizer import SPECIAL, Merge, fast, learn, merges_of

_NEW_MERGES = 1000
"""For what is not English: an English base spells it byte by byte."""


@dataclass(frozen=True)
class Kept:
    """What the small model has.

    Attributes:
        layers: how many of the base's, from below.
        vocabulary: tokens, at most.
        context: the longest sequence.
    """

    layers: int = 4
    vocabulary: int = 10_240
    context: int = 1024


def inherit(
    base: Path | str, output: Path, texts: Iterable[str], kept: Kept, *, seed: int = 0
) -> Path:
    """Writes a model of a base's first layers, with a vocabulary for `texts`, to `output`.

    Args:
        base: a folder of a Llama whose tokenizer is a byte-level BPE.
        output: the folder to write.
        texts: what the model will read and write.
        seed: of the noise that sets new tokens apart.

    Raises:
        RunError: the base is of another kind or has too few layers, or `output` is there already.
    """
    if output.exists():
        raise RunError(f"{output} is there already.")
    model, tokenizer = models.load(base)
    config, words = model.config, tokenizer.backend_tokenizer
    if config.model_type != "llama":
        raise RunError(f"{base} is a {config.model_type}; only a llama's layers can be kept.")
    if not 1 <= kept.layers <= config.num_hidden_layers:
        raise RunError(
            f"{base} has {config.num_hidden_layers} layers; 1 to {config.num_hidden_layers} "
            "can be kept."
        )
    small = _tokenizer(words, texts, kept)
    table = _table(model.get_input_embeddings().weight.detach(), words, small, seed)
    export(_first_layers(model, table, small, kept), small, output)
    return output


def _first_layers(base: Any, table: torch.Tensor, tokenizer: Any, kept: Kept) -> LlamaForCausalLM:
    old = base.config
    config = LlamaConfig(
        vocab_size=len(table),
        hidden_size=old.hidden_size,
        intermediate_size=old.intermediate_size,
        num_hidden_layers=kept.layers,
        num_attention_heads=old.num_attention_heads,
        num_key_value_heads=old.num_key_value_heads,
        head_dim=old.head_dim,
        max_position_embeddings=kept.context,
        rms_norm_eps=old.rms_norm_eps,
        rope_parameters=old.rope_parameters,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    small = LlamaForCausalLM(config)
    small.model.layers.load_state_dict(base.model.layers[: kept.layers].state_dict())
    small.model.embed_tokens.weight.data.copy_(table)
    _rescale(small, config.initializer_range)
    return small


def _tokenizer(base: Tokenizer, texts: Iterable[str], kept: Kept) -> PreTrainedTokenizerFast:
    """The base's merges that `texts` need, and its commonest, and new ones for other scripts.

    Whatever is kept is kept with its pieces, so that a word is cut as the base cuts it.
    """
    pieces: dict[str, Merge] = {}
    for first, second in merges_of(base):
        if _is_plain(first + second):
            pieces.setdefault(first + second, (first, second))
    used: Counter[str] = Counter()
    foreign: list[str] = []
    for text in texts:
        used.update(base.encode(text, add_special_tokens=False).tokens)
        if not text.isascii():
            foreign.append("".join(" " if letter.isascii() else letter for letter in text))
    new = learn(foreign, 256 + _NEW_MERGES) if foreign else []
    room = kept.vocabulary - len(fast(new, context=kept.context))
    wanted: set[str] = set()
    for token in [token for token, _ in used.most_common()] + list(pieces):
        more = _with_pieces(token, pieces) - wanted
        if len(wanted) + len(more) <= room:
            wanted |= more
    old = [pair for token, pair in pieces.items() if token in wanted]
    return fast(old + [pair for pair in new if "".join(pair) not in wanted], context=kept.context)


def _is_plain(token: str) -> bool:
    """English: other scripts get merges of their own, and numbers are cut in another way."""
    return not any(letter.isdigit() or not (letter.isascii() or letter in "ĠĊ") for letter in token)


def _with_pieces(token: str, pieces: dict[str, Merge]) -> set[str]:
    if token not in pieces:
        return set()
    first, second = pieces[token]
    return {token} | _with_pieces(first, pieces) | _with_pieces(second, pieces)


def _table(
    old: torch.Tensor, base: Tokenizer, small: PreTrainedTokenizerFast, seed: int
) -> torch.Tensor:
    """The vectors of the small model's tokens, (tokens rounded up to 64, width).

    A token of the base keeps its vector. A new one gets the mean of its pieces', and noise of the
    table's own size, without which 12 and 21 would be one.
    """
    known: dict[str, int] = base.get_vocab()
    noise = torch.randn(
        (-(-len(small) // 64) * 64, old.shape[1]), generator=torch.Generator().manual_seed(seed)
    )
    table = noise * old.std(dim=0)
    for token, index in small.get_vocab().items():
        if token in known and token not in SPECIAL:
            table[index] = old[known[token]]
        elif pieces := _spelled(token, known):
            table[index] += old[pieces].mean(dim=0)
        else:
            table[index] += old.mean(dim=0)
    return table


def _spelled(token: str, known: dict[str, int]) -> list[int]:
    if token in SPECIAL:
        return []
    return [known[letter] for letter in token if letter in known]


@torch.no_grad()
def _rescale(model: Any, size: float) -> None:
    """Gives the weights the size of a fresh model's; every layer says what it said before.

    A trained model's weights are ten times as large, and a learning rate that suits a fresh one
    would hardly move them. The last norm belongs to a layer that is gone: it becomes one that
    makes scores of about 1.
    """
    table = model.get_input_embeddings().weight
    down = size / float(table.std())
    table *= down
    for layer in model.model.layers:
        attention, mlp = layer.self_attn, layer.mlp
        for norm, readers in (
            (layer.input_layernorm, (attention.q_proj, attention.k_proj, attention.v_proj)),
            (layer.post_attention_layernorm, (mlp.gate_proj, mlp.up_proj)),
        ):
            for reader in readers:
                reader.weight *= norm.weight
            norm.weight.fill_(1.0)
        for writer in (attention.o_proj, mlp.down_proj):
            writer.weight *= down
    model.model.norm.weight.fill_(1 / (size * model.config.hidden_size**0.5))

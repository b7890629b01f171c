"""A small model begins with what a larger one's first layers and words say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel
from typer.testing import CliRunner, Result

from cap_training import models
from cap_training.cli import cli
from cap_training.export import export
from cap_training.tokenizer import train_tokenizer
from tests.training.conftest import Row, sums

WORDS = "The teacher gives seven pencils to every pupil, and the pupils give three of them back. "
CHINESE = "小明有苹果，小红有梨，一共有多少个水果？"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three layers whose gains and weights are as unlike a fresh model's as a trained one's."""
    torch.manual_seed(0)
    tokenizer = train_tokenizer([WORDS] * 20, vocabulary=2048, context=64)
    model = models.make(models.Shape(layers=3, width=64, mlp=96, context=64), tokenizer)
    with torch.no_grad():
        for name, weights in model.named_parameters():
            weights.mul_(6) if weights.ndim > 1 else weights.uniform_(0.05, 0.4)
            assert weights.isfinite().all(), name
    folder = tmp_path_factory.mktemp("base") / "model"
    export(model, tokenizer, folder)
    return folder


@pytest.fixture(scope="module")
def data(write: Callable[[str, list[Row]], Path]) -> Path:
    rows = sums(20)
    said = {"role": "user", "content": f"{WORDS}\n{CHINESE}"}
    return write("inherit", [{**row, "prompt": [said]} for row in rows])


def inherit(base: Path, data: Path, output: Path, **more: Any) -> Result:
    options = {"--base": base, "--data": data, "--output": output, "--vocabulary": 2560} | {
        f"--{name}": value for name, value in more.items()
    }
    said = [str(part) for pair in options.items() for part in pair]
    return CliRunner().invoke(cli, ["inherit", *said])


@pytest.fixture(scope="module")
def small(base: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("small") / "model"
    done = inherit(base, data, output, layers=2)
    assert done.exit_code == 0, done.output
    return output


def test_its_layers_say_what_the_base_s_first_layers_say(base: Path, small: Path) -> None:
    (large, words), (made, tokens) = models.load(base), models.load(small)
    assert made.config.num_hidden_layers == 2
    assert tokens.tokenize(WORDS) == words.tokenize(WORDS)
    before, after = hidden(large, words)[2], hidden(made, tokens)[2]
    assert torch.cosine_similarity(before, after, dim=-1).min() > 0.999


def test_its_weights_have_the_size_of_a_fresh_model_s(small: Path) -> None:
    made, tokens = models.load(small)
    known = [tokens.convert_tokens_to_ids(token) for token in tokens.tokenize(WORDS)]
    size = made.get_input_embeddings().weight[known].std().item()
    assert size == pytest.approx(0.02, rel=0.3)
    assert all(layer.input_layernorm.weight.eq(1).all() for layer in made.model.layers)
    assert 0.2 < made(torch.tensor([known])).logits.std() < 5


def test_what_the_base_spells_byte_by_byte_gets_words_of_its_own(base: Path, small: Path) -> None:
    (_, words), (made, tokens) = models.load(base), models.load(small)
    assert len(tokens.tokenize(CHINESE)) < len(words.tokenize(CHINESE)) / 2
    assert tokens.decode(tokens(CHINESE)["input_ids"]) == CHINESE
    assert len(tokens) <= 2560
    assert made.get_input_embeddings().weight.shape[0] % 64 == 0


def test_tokens_made_of_the_same_pieces_differ(small: Path) -> None:
    made, tokens = models.load(small)
    table = made.get_input_embeddings().weight
    first, second = (table[tokens.convert_tokens_to_ids(number)] for number in ("12", "21"))
    assert not torch.allclose(first, second, atol=1e-3)


@pytest.mark.parametrize("layers", [0, 4])
def test_layers_that_the_base_does_not_have_are_refused(
    base: Path, data: Path, tmp_path: Path, layers: int
) -> None:
    done = inherit(base, data, tmp_path / "out", layers=layers)
    assert done.exit_code != 0
    assert "Traceback" not in done.output
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_there_stays_as_it_is(base: Path, data: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    done = inherit(base, data, tmp_path, layers=2)
    assert done.exit_code == 1
    assert "there already" in done.output
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_another_kind_of_model_is_refused_in_one_line(data: Path, tmp_path: Path) -> None:
    tokenizer = train_tokenizer([WORDS], vocabulary=2048, context=64)
    other = GPT2LMHeadModel(GPT2Config(n_layer=2, n_head=2, n_embd=32, vocab_size=2048))
    export(other, tokenizer, tmp_path / "other")
    done = inherit(tmp_path / "other", data, tmp_path / "out", layers=1)
    assert done.exit_code == 1
    assert "only a llama's layers can be kept" in done.output


def test_a_gguf_file_that_is_none_is_refused_in_one_line(data: Path, tmp_path: Path) -> None:
    broken = tmp_path / "base.gguf"
    broken.write_bytes(b"GGUF nothing more")
    done = inherit(broken, data, tmp_path / "out", layers=1)
    assert done.exit_code == 1
    assert "holds no model" in done.output
    assert "Traceback" not in done.output


def hidden(model: Any, tokenizer: Any) -> Any:
    ids = torch.tensor([tokenizer(WORDS)["input_ids"]])
    with torch.no_grad():
        return model(ids, output_hidden_states=True).hidden_states

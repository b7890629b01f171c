"""A deeper model starts where the shallower one is, and can be trained on."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner, Result

from cap_training import models
from cap_training.cli import cli
from cap_training.deepen import order
from cap_training.export import export
from cap_training.tokenizer import train_tokenizer


def model(folder: Path, *, layers: int) -> Path:
    torch.manual_seed(0)
    tokenizer = train_tokenizer(["answer=1+2"], vocabulary=2048, context=64)
    shape = models.Shape(layers=layers, width=32, mlp=32, context=64)
    export(models.make(shape, tokenizer), tokenizer, folder)
    return folder


def deepen(base: Path, output: Path, layers: int) -> Result:
    options = ["--base", base, "--output", output, "--layers", layers]
    return CliRunner().invoke(cli, ["deepen", *map(str, options)])


@pytest.mark.parametrize(("have", "want"), [(3, 4), (3, 5), (2, 4), (5, 8)])
def test_copies_stand_behind_their_originals(have: int, want: int) -> None:
    places = order(have, want)
    assert len(places) == want
    assert [layer for layer, is_copy in places if not is_copy] == list(range(have))
    assert all(places[at - 1] == (layer, False) for at, (layer, copy) in enumerate(places) if copy)


def test_it_says_what_the_shallower_one_says_and_every_layer_learns(tmp_path: Path) -> None:
    base, output = model(tmp_path / "base", layers=3), tmp_path / "deeper"
    done = deepen(base, output, 5)
    assert done.exit_code == 0, done.output
    (before, tokenizer), (after, _) = models.load(base), models.load(output)
    ids = torch.tensor([tokenizer("answer=1+2")["input_ids"]])
    assert after.config.num_hidden_layers == 5
    assert torch.equal(before(ids).logits, after(ids).logits)
    after(ids, labels=ids).loss.backward()
    for layer in after.model.layers:
        assert layer.mlp.down_proj.weight.grad.abs().max() > 0
        assert layer.self_attn.o_proj.weight.grad.abs().max() > 0


@pytest.mark.parametrize("layers", [3, 7])
def test_a_depth_that_cannot_be_had_is_refused_in_one_line(tmp_path: Path, layers: int) -> None:
    done = deepen(model(tmp_path / "base", layers=3), tmp_path / "out", layers)
    assert done.exit_code == 1
    assert "4 to 6 are allowed" in done.output
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_there_stays_as_it_is(tmp_path: Path) -> None:
    base, there = model(tmp_path / "base", layers=3), tmp_path / "there"
    there.mkdir()
    (there / "notes.txt").write_text("mine")
    done = deepen(base, there, 4)
    assert done.exit_code == 1
    assert "there already" in done.output
    assert (there / "notes.txt").read_text() == "mine"


def test_a_folder_without_a_model_is_refused_in_one_line(tmp_path: Path) -> None:
    done = deepen(tmp_path / "none", tmp_path / "out", 4)
    assert done.exit_code == 1
    assert "holds no model" in done.output
    assert "Traceback" not in done.output

"""ExPO: exact arithmetic on weights, and models that do not fit together."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from cap_training import models
from cap_training.cli import cli
from cap_training.export import export
from cap_training.extrapolate import further
from cap_training.tokenizer import train_tokenizer


def model(folder: Path, *, width: int = 32, seed: int = 0) -> Path:
    torch.manual_seed(seed)
    tokenizer = train_tokenizer(["answer=1+2"], vocabulary=2048, context=64)
    shape = models.Shape(layers=1, width=width, mlp=32, context=64)
    export(models.make(shape, tokenizer), tokenizer, folder)
    return folder


@pytest.mark.parametrize(
    ("alpha", "expected"),
    [(-1.0, [1.0, -4.0]), (0.0, [2.0, 4.0]), (0.5, [2.5, 8.0]), (2.0, [4.0, 20.0])],
)
def test_the_step_goes_on_as_far_as_alpha_says(alpha: float, expected: list[float]) -> None:
    before, after = torch.tensor([1.0, -4.0]), torch.tensor([2.0, 4.0])
    assert further({"w": before}, {"w": after}, alpha=alpha)["w"].tolist() == expected
    assert (before.tolist(), after.tolist()) == ([1.0, -4.0], [2.0, 4.0])


def test_a_whole_model_is_moved_and_stays_one(tmp_path: Path) -> None:
    before, after = model(tmp_path / "before"), model(tmp_path / "after", seed=1)
    for alpha, same_as in ((0.0, after), (-1.0, before)):
        output = tmp_path / f"alpha{alpha}"
        options = ["--before", before, "--after", after, "--output", output, "--alpha", alpha]
        done = CliRunner().invoke(cli, ["extrapolate", *map(str, options)])
        assert done.exit_code == 0, done.output
        expected, found = (models.load(each)[0].state_dict() for each in (same_as, output))
        assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_whoever_may_read_the_configuration_may_read_the_weights(tmp_path: Path) -> None:
    folder = model(tmp_path / "model")
    modes = {(folder / name).stat().st_mode for name in ("config.json", "model.safetensors")}
    assert len(modes) == 1


def test_models_of_different_shapes_are_refused_in_one_line(tmp_path: Path) -> None:
    before, after = model(tmp_path / "before"), model(tmp_path / "after", width=64)
    options = ["--before", before, "--after", after, "--output", tmp_path / "out"]
    done = CliRunner().invoke(cli, ["extrapolate", *map(str, options)])
    assert done.exit_code == 1
    assert "not of the same shape" in done.output
    assert "Traceback" not in done.output
    assert not (tmp_path / "out").exists()


def test_a_folder_without_a_model_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    options = ["--before", model(tmp_path / "a"), "--after", tmp_path / "empty"]
    done = CliRunner().invoke(cli, ["extrapolate", *map(str, options), "--output", str(tmp_path)])
    assert done.exit_code == 1
    assert f"{tmp_path / 'empty'}" in done.output

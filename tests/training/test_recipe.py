"""Recipes, and what is said of those that cannot be followed."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from cap_training.cli import cli
from cap_training.failures import TrainingError
from cap_training.recipe import Shares, load, names

HEAD = "name: mine\nabout: A try.\n"


def faults(folder: Path, text: str) -> str:
    path = folder / "mine.yaml"
    path.write_text(text, "utf-8")
    with pytest.raises(TrainingError) as refused:
        load(str(path))
    return str(refused.value)


@pytest.mark.parametrize("name", names())
def test_the_recipes_that_come_with_the_code_can_be_followed(name: str) -> None:
    assert load(name).name == name


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (HEAD + "sft:\n  layer: 3\n", "sft.layer: Extra inputs are not permitted"),
        (HEAD + "stage3: {}\n", "stage3: Extra inputs are not permitted"),
        (HEAD + "sft:\n  layers: three\n", "sft.layers: Input should be a valid integer"),
        (HEAD + "sft: fast\n", "sft: Input should be a valid dictionary"),
        (HEAD + "prefer:\n  losses: [dpo]\n", "prefer.losses.0: Input should be 'sigmoid', 'rpo'"),
        (HEAD + "mine:\n  samples: 1\n", "mine.samples: Input should be greater than or equal"),
        ("name: mine\n", "about: Field required"),
        ("name: ../up\nabout: A try.\n", "name: String should match pattern"),
        ("", "the recipe: Input should be a valid dictionary"),
        ("- a list\n", "the recipe: Input should be a valid dictionary"),
        (HEAD + "sft: {layers: 3\n", "cannot be read"),
        ("name: !!python/object/apply:os.getcwd []\nabout: A try.\n", "cannot be read"),
    ],
)
def test_a_fault_is_told_with_its_file_its_place_and_its_kind(
    tmp_path: Path, text: str, told: str
) -> None:
    message = faults(tmp_path, text)
    assert message.startswith(f"{tmp_path / 'mine.yaml'}")
    assert told in message


def test_a_system_that_nobody_knows_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    message = faults(tmp_path, HEAD + "evaluate:\n  systems: [greedy, best of 7]\n")
    assert "evaluate.systems" in message
    assert "best of 7" in message
    assert "majority of 8" in message


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    message = faults(tmp_path, "about: A try.\nsft: {layers: 0, base: 7}\n")
    assert all(place in message for place in ("name: ", "sft.layers: ", "sft.base: "))


def test_a_recipe_that_is_not_there_is_told_with_those_that_are(tmp_path: Path) -> None:
    done = CliRunner().invoke(cli, ["run", "small-cup", "--output", str(tmp_path / "out")])
    assert done.exit_code == 1
    assert "small-cup" in done.output
    assert "small-cpu" in done.output
    assert "Traceback" not in done.output
    assert not (tmp_path / "out").exists()


def test_rows_that_are_not_there_are_named(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(HEAD + f"data:\n  train: [{tmp_path / 'rows.parquet'}]\n", "utf-8")
    done = CliRunner().invoke(cli, ["run", str(path), "--output", str(tmp_path / "out")])
    assert done.exit_code == 1
    assert "rows.parquet cannot be read" in done.output


def test_stages_share_the_time_that_is_left() -> None:
    shares = Shares(sft=0.5, mine=0.1, prefer=0.1, evaluate=0.3)
    assert shares.of_rest("sft") == pytest.approx(0.5)
    assert shares.of_rest("prefer") == pytest.approx(0.25)
    assert shares.of_rest("evaluate") == 1.0

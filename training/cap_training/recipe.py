"""Recipes: small YAML files that say how a model is made, from data to report."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from cap_training.evaluate.systems import SYSTEMS
from cap_training.failures import TrainingError
from cap_training.loss_names import LossName

FOLDER = Path(__file__).parent / "recipes"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DataPart(_Part):
    """Where rows come from: made here, or files that are there already.

    Attributes:
        rows: made, at most; with a budget no more than can be made in a twelfth of it.
        held_out: rows of each of the two sets that training never sees.
        gsm8k: GSM8K's training set, as JSON lines.
        ape210k: Ape210K's, likewise.
        train, dev, test: Parquet files of rows to use instead.
    """

    rows: int = Field(400_000, ge=100)
    held_out: int = Field(600, ge=10)
    seed: int = 1
    gsm8k: Path | None = None
    ape210k: Path | None = None
    train: tuple[Path, ...] = ()
    dev: tuple[Path, ...] = ()
    test: tuple[Path, ...] = ()


class SftPart(_Part):
    """Stage 1. `base` is a model to start from; without it one is made from nothing."""

    base: str | None = None
    layers: int = Field(4, ge=1)
    width: int = Field(256, ge=32)
    mlp: int = Field(640, ge=32)
    vocabulary: int = Field(4096, ge=2048)
    context: int = Field(1024, ge=64)
    epochs: float = Field(2.0, gt=0)
    max_tokens: int | None = Field(None, ge=1)
    batch_tokens: int = Field(4096, ge=256)
    micro_tokens: int = Field(0, ge=0)
    learning_rate: float = Field(3e-3, gt=0)
    lora: int = Field(0, ge=0)


class MinePart(_Part):
    """The pairs of stage 2."""

    rows: int = Field(4000, ge=1)
    samples: int = Field(8, ge=2)
    pairs: int = Field(2, ge=1)
    temperature: float = Field(1.0, gt=0, le=2)
    max_tokens: int = Field(200, ge=16)
    gold: bool = True


class PreferPart(_Part):
    """Stage 2: every loss is tried on the same pairs, the best by the dev set goes on.

    Attributes:
        rounds: of mining and optimising; each begins with the best model so far.
        extrapolate: values of ExPO's α that compete too.
    """

    losses: tuple[LossName, ...] = ("rpo", "ipo", "apo_zero")
    rounds: int = Field(1, ge=0)
    beta: float = Field(0.1, gt=0)
    nll: float = Field(1.0, ge=0)
    epochs: float = Field(1.0, gt=0)
    batch_pairs: int = Field(32, ge=1)
    micro_pairs: int = Field(0, ge=0)
    learning_rate: float = Field(2e-5, gt=0)
    lora: int = Field(0, ge=0)
    extrapolate: tuple[float, ...] = (0.3,)


class EvaluatePart(_Part):
    """The report.

    Attributes:
        data: more sets than the recipe's own test rows.
        compare: whether stage 1's model is evaluated too, and the finished one compared with it.
    """

    data: tuple[Path, ...] = ()
    most: int = Field(200, ge=1)
    compare: bool = True
    systems: tuple[str, ...] = ("greedy", "majority of 8", "majority of 8, gated", "adaptive")

    @field_validator("systems")
    @classmethod
    def _are_known(cls, systems: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := [name for name in systems if name not in SYSTEMS]:
            raise ValueError(f"{', '.join(unknown)}: choose from {'; '.join(SYSTEMS)}")
        return systems


class Shares(_Part):
    """How a budget is divided among the stages."""

    sft: float = Field(0.5, gt=0)
    mine: float = Field(0.15, gt=0)
    prefer: float = Field(0.15, gt=0)
    evaluate: float = Field(0.2, gt=0)

    def of_rest(self, stage: str) -> float:
        """The stage's share of the time that is left when it begins."""
        order = list(type(self).model_fields)
        values = [float(getattr(self, name)) for name in order[order.index(stage) :]]
        return values[0] / sum(values)


class Recipe(_Part):
    """A whole recipe."""

    name: str = Field(pattern=r"^[A-Za-z0-9._-]+$")
    about: str
    seed: int = 0
    data: DataPart = DataPart()
    sft: SftPart = SftPart()
    mine: MinePart = MinePart()
    prefer: PreferPart = PreferPart()
    evaluate: EvaluatePart = EvaluatePart()
    shares: Shares = Shares()


def names() -> list[str]:
    """The recipes that come with the code."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def load(recipe: str) -> Recipe:
    """Reads a recipe by its name, or from a file.

    Raises:
        TrainingError: it is missing, or says something that no recipe can; which, and why.
    """
    path = FOLDER / f"{recipe}.yaml" if recipe in names() else Path(recipe)
    try:
        found = yaml.safe_load(path.read_text("utf-8"))
        return Recipe.model_validate(found)
    except FileNotFoundError:
        known = ", ".join(names())
        raise TrainingError(f"No recipe {recipe!r}: name a file, or one of {known}.") from None
    except ValidationError as error:
        raise TrainingError(f"{path}: " + "; ".join(_faults(error))) from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise TrainingError(f"{path} cannot be read: {error}") from error


def _faults(error: ValidationError) -> Iterator[str]:
    for fault in error.errors():
        place = ".".join(map(str, fault["loc"]))
        yield f"{place or 'the recipe'}: {fault['msg']}"

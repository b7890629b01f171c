"""A training set: which problems, in which shares, with which chains of thought.

Everything follows from the seed and the files, so a set can be made again from its card.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from cap_training.data.ape210k import read_ape210k
from cap_training.data.arithmetic import steps
from cap_training.data.cots import right_cot, wrong_cot
from cap_training.data.gsm8k import Solved, read_gsm8k, spoiled
from cap_training.data.nonsense import Nonsense
from cap_training.data.perturb import perturbed
from cap_training.data.problems import SourceProblem
from cap_training.data.rows import Row, ask, ask_critic, reply
from cap_training.data.split import split_of
from cap_training.data.synthetic import Draw, Grammar

_EN_COTS = 0.35
"""Of GSM8K's rows with a CoT, how many have one made from the sum instead of its own solution."""

_WORDINGS = {
    "train": Draw(),
    "dev": Draw(unseen=True, half=0),
    "test": Draw(unseen=True, half=1),
}


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a training set is made of.

    Attributes:
        rows: how many.
        shares: of each origin, by weight. An origin whose file is not given is left out.
        kinds: of each kind of row, by weight: `none` has no CoT, `right` and `wrong` have one,
            `critic` asks whether one is right.
        twins: of the problems that people wrote, how many appear with other numbers.
        nonsense: of the English training rows with a CoT, how many have a question in words that
            say nothing, so that the CoT is all there is to go by.
        longest: characters of the longest user message.
        longest_program: lines.
    """

    rows: int = 200_000
    seed: int = 1
    shares: Mapping[str, float] = field(
        default_factory=lambda: {
            "synthetic_en": 0.74,
            "gsm8k": 0.18,
            "synthetic_zh": 0.05,
            "ape210k": 0.03,
        }
    )
    kinds: Mapping[str, float] = field(
        default_factory=lambda: {"none": 0.44, "right": 0.23, "wrong": 0.28, "critic": 0.05}
    )
    twins: float = 0.6
    nonsense: float = 0.25
    longest: int = 800
    longest_program: int = 7


@dataclass(frozen=True, slots=True)
class Sources:
    """Files of labelled problems; None: there are none of the kind."""

    gsm8k: Path | None = None
    ape210k: Path | None = None

    @property
    def files(self) -> dict[str, Path]:
        named = {"gsm8k": self.gsm8k, "ape210k": self.ape210k}
        return {name: path for name, path in named.items() if path is not None}


@dataclass(frozen=True, slots=True)
class _Found:
    """A problem, and GSM8K's own solution of it where there is one."""

    problem: SourceProblem
    solved: Solved | None = None


class Mixture:
    """Draws rows.

    Args:
        sources: files of labelled problems.
        split: the split whose source questions and wordings are used; `train`, `dev` and `test`
            share none.
    """

    def __init__(self, recipe: Recipe, sources: Sources, *, split: str = "train") -> None:
        self._recipe = recipe
        self._split = split
        self._nonsense = Nonsense()
        self._grammars = {language: Grammar.of(language) for language in ("en", "zh")}
        self._found: dict[str, Sequence[_Found]] = {}
        if sources.gsm8k is not None:
            self._found["gsm8k"] = self._kept(
                _Found(solved.problem, solved) for solved in read_gsm8k(sources.gsm8k)
            )
        if sources.ape210k is not None:
            self._found["ape210k"] = self._kept(
                _Found(problem) for problem in read_ape210k(sources.ape210k)
            )

    def _kept(self, found: Iterator[_Found]) -> Sequence[_Found]:
        return [
            each
            for each in found
            if split_of(each.problem.source) == self._split
            and len(steps(each.problem.sum)) <= self._recipe.longest_program
        ]

    def rows(self) -> Iterator[Row]:
        """The rows of the recipe, no question with the same CoT twice."""
        rng = random.Random(f"{self._recipe.seed}-{self._split}")
        origins = [name for name in self._recipe.shares if self._can(name)]
        weights = [self._recipe.shares[name] for name in origins]
        kinds, shares = list(self._recipe.kinds), list(self._recipe.kinds.values())
        seen: set[str] = set()
        made = 0
        while made < self._recipe.rows:
            found = self._draw(rng.choices(origins, weights)[0], rng)
            row = self._row(found, rng.choices(kinds, shares)[0], rng)
            if row is None or len(row.user) > self._recipe.longest or row.user in seen:
                continue
            seen.add(row.user)
            made += 1
            yield row

    def _can(self, origin: str) -> bool:
        return origin.startswith("synthetic_") or bool(self._found.get(origin))

    def _draw(self, origin: str, rng: random.Random) -> _Found:
        if origin.startswith("synthetic_"):
            grammar = self._grammars[origin.removeprefix("synthetic_")]
            return _Found(grammar.problem(rng, _WORDINGS[self._split]))
        found = rng.choice(self._found[origin])
        if rng.random() < self._recipe.twins:
            twin = perturbed(found.problem, rng)
            return found if twin is None else _Found(twin)
        return found

    def _row(self, found: _Found, kind: str, rng: random.Random) -> Row | None:
        problem = found.problem
        right = rng.random() < 0.5 if kind == "critic" else kind == "right"
        cot = None if kind == "none" else _cot(found, rng, right=right)
        if kind != "none" and cot is None:
            return None
        question, row_kind = problem.question, "program"
        if kind == "critic" and cot is not None:
            user, completion = ask_critic(question, cot), "yes" if right else "no"
            row_kind = "critic"
        else:
            if cot is not None and self._is_nonsense(problem, rng):
                question, row_kind = self._nonsense.of(question, rng), "nonsense"
            user = ask(question, cot)
            completion = reply(problem.program, None if cot is None else right)
        return Row(
            user=user,
            completion=completion,
            question=question,
            answer=problem.answer,
            cot=cot,
            cot_right=None if cot is None else right,
            kind=row_kind,
            origin=problem.origin,
            language=problem.language,
            family=problem.family,
            wording=problem.wording,
            split=self._split,
            id=problem.id,
            source=problem.source or problem.id,
        )

    def _is_nonsense(self, problem: SourceProblem, rng: random.Random) -> bool:
        if self._split != "train" or problem.language != "en":
            return False
        self._nonsense.see(problem.question, rng)
        return rng.random() < self._recipe.nonsense


def _cot(found: _Found, rng: random.Random, *, right: bool) -> str | None:
    if found.solved is not None and rng.random() > _EN_COTS:
        if right:
            return _ended(found.solved.cot, found.problem.answer, rng)
        spoilt = spoiled(found.solved, rng)
        return None if spoilt is None else _ended(*spoilt, rng)
    made = right_cot(found.problem, rng) if right else wrong_cot(found.problem, rng)
    return None if made is None else made.text


def _ended(solution: str, answer: str, rng: random.Random) -> str:
    text = rng.choice((solution, solution.replace("\n", " ")))
    return text + rng.choice(("", f"\n#### {answer}", f"\nThe answer is {answer}.", f" {answer}"))


def described(recipe: Recipe) -> dict[str, object]:
    """The recipe for a data card."""
    return asdict(recipe)

"""A whole recipe: data, stage 1, pairs, stage 2, report, the finished model.

Every stage leaves something that is there only when it is whole, and is skipped when it is there:
the same command goes on where a killed one was.
"""

from __future__ import annotations

import asyncio
import gc
import json
import shutil
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from cap_training import candidates, making, run
from cap_training.budget import Clock, spoken
from cap_training.card import card
from cap_training.evaluate.evaluation import EvaluateOptions, evaluate
from cap_training.failures import TrainingError
from cap_training.mine import MineOptions, mine
from cap_training.models import Shape
from cap_training.prefer import PreferOptions, prefer
from cap_training.recipe import Recipe, names
from cap_training.serving import Serve, Server, served
from cap_training.sft import SftOptions, sft
from cap_training.watch import write_whole

_LEAST_S = 20.0
"""A stage that came late gets this much all the same."""

_START_S = 45.0
"""What a start of vLLM takes until one was measured."""


@dataclass
class Pipeline:
    """One run of a recipe.

    Attributes:
        folder: takes everything.
        budget_s: for all stages together, over all starts; None: as long as each takes.
        serve: puts a model's folder behind an API, for as long as it is needed.
    """

    recipe: Recipe
    folder: Path
    budget_s: float | None
    say: Callable[[str], None]
    clock: Clock = field(default_factory=Clock)
    serve: Serve = served
    _start_s: float = _START_S
    _starts_left: int = 0

    def run(self) -> Path:
        """Goes through the stages.

        Returns:
            The folder of the finished model.

        Raises:
            TrainingError: a stage cannot go on; what is done stays.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        run.prepare(self.recipe.seed)
        self._begin()
        self._starts_left = self.recipe.prefer.rounds + 1 + self.recipe.evaluate.compare
        self._stage("data", "Making the data.")
        data = making.make(self.recipe.data, self.folder / "data", budget_s=self.budget_s)
        self._stage("sft", "Stage 1: fine-tuning.")
        first = sft(self._sft_options(data), say=self.say)
        best, runs = self._prefer(first, data)
        report = self._evaluate(first, best, data)
        model = self.folder / "model"
        if not model.exists():
            self._finish(best, runs, report, model)
        self.say(f"Done in {spoken(self.clock.elapsed_s())}: {model}, {report / 'report.md'}")
        self.say(f"Serve it: cap up --model {model}")
        return model

    def _begin(self) -> None:
        """Takes the time of earlier starts into account.

        Raises:
            TrainingError: the folder belongs to another recipe.
        """
        record = self.folder / "recipe.json"
        ours = self.recipe.model_dump(mode="json")
        if record.exists():
            kept = json.loads(record.read_text("utf-8"))
            if kept["recipe"] != ours:
                raise TrainingError(f"{self.folder} holds a run of another recipe.")
            self.clock.resume(float(kept["elapsed_s"]))

    def _stage(self, name: str, told: str) -> None:
        record = {
            "recipe": self.recipe.model_dump(mode="json"),
            "stage": name,
            "elapsed_s": self.clock.elapsed_s(),
        }
        write_whole(self.folder / "recipe.json", json.dumps(record, indent=1))
        left = f" {spoken(self._left_s())} left." if self.budget_s is not None else ""
        self.say(f"== {told}{left}")
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()  # vLLM wants the memory next

    def _left_s(self) -> float:
        return max(0.0, (self.budget_s or 0.0) - self.clock.elapsed_s())

    @asynccontextmanager
    async def _served(self, model: Path) -> AsyncIterator[Server]:
        """The model in vLLM; how long the start takes is what the next ones are planned with."""
        self._starts_left -= 1
        clock = Clock()
        async with self.serve(model, say=self.say) as server:
            self._start_s = clock.elapsed_s()
            yield server

    def _share_s(self, stage: str, *, parts: int = 1) -> float | None:
        if self.budget_s is None:
            return None
        free_s = self._left_s() - self._starts_left * self._start_s
        return max(_LEAST_S, free_s * self.recipe.shares.of_rest(stage) / parts)

    def _sft_options(self, data: making.Data) -> SftOptions:
        part = self.recipe.sft
        return SftOptions(
            data=data.train,
            output=self.folder / "sft",
            base=part.base,
            held_out=data.dev,
            shape=Shape(
                part.layers, part.width, part.mlp, vocabulary=part.vocabulary, context=part.context
            ),
            epochs=part.epochs,
            budget_s=self._share_s("sft"),
            max_tokens=part.max_tokens,
            batch_tokens=part.batch_tokens,
            micro_tokens=part.micro_tokens,
            learning_rate=part.learning_rate,
            lora=part.lora,
            optimizer="adamw" if part.lora else "muon",
            seed=self.recipe.seed,
        )

    def _prefer(self, first: Path, data: making.Data) -> tuple[Path, dict[str, Path]]:
        """The best model by the dev set, and the runs that led to it."""
        part, best = self.recipe.prefer, first
        runs = {"Stage 1": self.folder / "sft"}
        for number in range(1, part.rounds + 1):
            home = self.folder / f"round-{number}"
            pairs = home / "pairs.parquet"
            if not pairs.exists():
                self._stage("mine", f"Round {number}: the model writes, the sandbox judges.")
                asyncio.run(self._mine(best, pairs, data))
            found: dict[str, Path] = {}
            for place, loss in enumerate(part.losses):
                self._stage("prefer", f"Round {number}: preference optimisation, {loss}.")
                options = self._prefer_options(best, home, loss, pairs, data)
                parts = (part.rounds - number + 1) * (len(part.losses) - place)
                budget_s = self._share_s("prefer", parts=parts)
                found[loss] = prefer(replace(options, budget_s=budget_s), say=self.say)
            winner = candidates.best(best, found, home, part.extrapolate, data.dev, say=self.say)
            if winner.run is not None:
                runs[f"Stage 2, round {number}, {winner.name}"] = winner.run
            best = winner.model
        return best, runs

    async def _mine(self, model: Path, pairs: Path, data: making.Data) -> None:
        part = self.recipe.mine
        async with self._served(model) as server:
            options = MineOptions(
                data=data.train,
                output=pairs,
                model=str(model),
                samples=part.samples,
                temperature=part.temperature,
                max_tokens=part.max_tokens,
                most_rows=part.rows,
                most_pairs=part.pairs,
                gold=part.gold,
                budget_s=self._share_s("mine"),
                seed=self.recipe.seed,
            )
            counts = await mine(options, server.settings(), say=self.say)
        self.say("  " + ", ".join(f"{what} {count:,}" for what, count in counts.items()))

    def _prefer_options(
        self, base: Path, home: Path, loss: str, pairs: Path, data: making.Data
    ) -> PreferOptions:
        part = self.recipe.prefer
        return PreferOptions(
            data=(pairs,),
            output=home / loss,
            base=base,
            loss=loss,  # type: ignore[arg-type]  # the recipe's own type says so
            held_out=data.dev,
            beta=part.beta,
            nll=part.nll,
            epochs=part.epochs,
            batch_pairs=part.batch_pairs,
            micro_pairs=part.micro_pairs,
            learning_rate=part.learning_rate,
            context=self.recipe.sft.context,
            lora=part.lora,
            seed=self.recipe.seed,
        )

    def _evaluate(self, first: Path, best: Path, data: making.Data) -> Path:
        """Evaluates stage 1's model, then the best one against it."""
        before, after = self.folder / "report-stage-1", self.folder / "report"
        compared = self.recipe.evaluate.compare and best != first
        if compared:
            self._report(first, before, data, against=None, parts=2)
        self._report(best, after, data, against=before if compared else None, parts=1)
        return after

    def _report(
        self, model: Path, output: Path, data: making.Data, *, against: Path | None, parts: int
    ) -> None:
        if (output / "report.json").exists():
            return
        self._stage("evaluate", f"Evaluating {model}.")
        asyncio.run(self._asked(model, output, data, against=against, parts=parts))

    async def _asked(
        self, model: Path, output: Path, data: making.Data, *, against: Path | None, parts: int
    ) -> None:
        part = self.recipe.evaluate
        async with self._served(model) as server:
            options = EvaluateOptions(
                data=(*data.test, *part.data),
                output=output,
                model=str(model),
                systems=part.systems,
                most=part.most,
                against=against,
                budget_s=self._share_s("evaluate", parts=parts),
                seed=self.recipe.seed,
            )
            await evaluate(options, server.settings(), say=self.say)

    def _finish(self, best: Path, runs: Mapping[str, Path], report: Path, model: Path) -> None:
        unfinished = model.with_name("model.new")
        shutil.rmtree(unfinished, ignore_errors=True)
        shutil.copytree(best, unfinished)
        budget = f" --budget {self.budget_s:.0f}s" if self.budget_s is not None else ""
        recipe = self.recipe.name + ".yaml" * (self.recipe.name not in names())
        text = card(
            name=self.recipe.name,
            about=self.recipe.about,
            command=f"cap-train run {recipe}{budget}",
            runs=runs,
            report=report,
        )
        (unfinished / "README.md").write_text(text, encoding="utf-8")
        unfinished.replace(model)

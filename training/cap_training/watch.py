"""What a run leaves behind: metrics, checkpoints that a later run finds, a line of progress."""

from __future__ import annotations

import copy
import json
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter
from transformers import TrainerCallback

from cap_training.budget import spoken
from cap_training.export import export
from cap_training.pace import Pace

CLOCK = "clock.json"
_LOG_EVERY_S = 10.0

HeldOut = Callable[[Any], Mapping[str, float]]


class Watch(TrainerCallback):
    """Follows one run.

    Args:
        folder: takes `metrics.jsonl` and `tensorboard/`.
        save_every_s: how much work a kill may cost.
        held_out: measures the model on rows that it does not train on.
        measure_every_s: how often it does.
        best: keeps the best model that was measured, and says when to give up.
    """

    def __init__(
        self,
        folder: Path,
        pace: Pace,
        *,
        save_every_s: float,
        held_out: HeldOut | None = None,
        measure_every_s: float = 600.0,
        best: Best | None = None,
        say: Callable[[str], None] | None = None,
    ) -> None:
        self.pace = pace
        self._metrics = folder / "metrics.jsonl"
        self._board = SummaryWriter(str(folder / "tensorboard"))
        self._held_out, self._best = held_out, best
        self._say = say or _to_stderr
        self._every_s = {"log": _LOG_EVERY_S, "save": save_every_s, "measure": measure_every_s}
        self._last_s = dict.fromkeys(self._every_s, time.monotonic())
        self._logged = (pace.clock.elapsed_s(), pace.tokens)

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.pace.step = state.global_step
        self._logged = (self.pace.clock.elapsed_s(), self.pace.tokens)

    def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        self.pace.advance(state.global_step)
        over = self.pace.over()
        control.should_training_stop |= over
        control.should_log |= over or state.global_step == 1 or self._due("log")
        control.should_save |= self._due("save") and not over
        if self._held_out and self._due("measure") and not over:
            self.measure(more["model"])
            control.should_training_stop |= self._best is not None and self._best.is_past

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        if "num_tokens" in (logs or {}):  # TRL's own count, where the run keeps none
            self.pace.tokens = max(self.pace.tokens, int(logs["num_tokens"]))
        now_s, tokens = self.pace.clock.elapsed_s(), self.pace.tokens
        before_s, before = self._logged
        speed = (tokens - before) / max(1e-9, now_s - before_s)
        self._logged = (now_s, tokens)
        facts = {name: value for name, value in (logs or {}).items() if name != "epoch"}
        if "loss" in facts:
            facts["tokens_per_s"] = round(speed, 1)
            self.record(facts)
            self._say(self._line(facts))

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        # The last file of a checkpoint: one without it was cut off and is not resumed from.
        facts = {"elapsed_s": self.pace.clock.elapsed_s(), "tokens": self.pace.tokens}
        folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        write_whole(folder / CLOCK, json.dumps(facts))

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._board.flush()

    def measure(self, model: Any) -> Mapping[str, float]:
        """Measures the model on the held-out rows, records what came out, and returns it."""
        if self._held_out is None:
            return {}
        facts = self._held_out(model)
        self.record(facts)
        said = ", ".join(f"{name} {value:.4f}" for name, value in facts.items())
        self._say(f"  held out: {said}")
        if self._best is not None:
            self._best.see(model, facts, step=self.pace.step)
        return facts

    def record(self, facts: Mapping[str, float]) -> None:
        """Writes `facts` as a line of JSON and as points of TensorBoard's curves."""
        row = {
            "step": self.pace.step,
            "tokens": self.pace.tokens,
            "elapsed_s": round(self.pace.clock.elapsed_s(), 2),
            "done": round(self.pace.fraction(), 5),
            **facts,
        }
        with self._metrics.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(row) + "\n")
        for name, value in facts.items():
            if isinstance(value, int | float):
                self._board.add_scalar(name, value, self.pace.step)

    def _due(self, what: str) -> bool:
        now = time.monotonic()
        if now - self._last_s[what] < self._every_s[what]:
            return False
        self._last_s[what] = now
        return True

    def _line(self, facts: Mapping[str, float]) -> str:
        left_s = self.pace.left_s()
        shown = ("loss", "rewards/margins", "rewards/accuracies", "tokens_per_s")
        values = "  ".join(f"{name} {facts[name]:,.4g}" for name in shown if name in facts)
        end = f"{spoken(left_s)} left" if left_s is not None else "time left not known yet"
        done = f"{100 * self.pace.fraction():5.1f} %  step {self.pace.step}"
        return f"{done}  {values}  {spoken(self.pace.clock.elapsed_s())} gone, {end}"


class Best:
    """The best model so far by the share of held-out rows that it writes to the letter.

    Attributes:
        step: when it was measured.

    Args:
        folder: where it is kept.
        patience: measurements without a better one before it is time to stop; 0: never.
    """

    def __init__(self, folder: Path, tokenizer: Any, *, patience: int) -> None:
        self.folder, self.step = folder, 0
        self._tokenizer, self._patience = tokenizer, patience
        self._record = folder.with_name(folder.name + ".json")
        self._found, self._worse = -1.0, 0
        if self._record.exists():
            kept = json.loads(self._record.read_text("utf-8"))
            self._found, self._worse, self.step = kept["found"], kept["worse"], kept["step"]

    @property
    def is_past(self) -> bool:
        return 0 < self._patience <= self._worse

    def see(self, model: Any, facts: Mapping[str, float], *, step: int) -> None:
        """Keeps `model` if its measurement is the best so far."""
        value = facts["held_out/exact"]
        self._worse += 1
        if value > self._found:
            self._found, self._worse, self.step = value, 0, step
            export(copy.deepcopy(model), self._tokenizer, self.folder)
        kept = {"found": self._found, "worse": self._worse, "step": self.step}
        write_whole(self._record, json.dumps(kept))

    def promote(self, folder: Path) -> None:
        """Moves the best model to `folder`."""
        if folder.exists():
            shutil.rmtree(folder)
        self.folder.replace(folder)


def latest(checkpoints: Path) -> tuple[Path, Mapping[str, float]] | None:
    """The latest complete checkpoint and its clock; those that were cut off are removed."""
    found = sorted(
        (path for path in checkpoints.glob("checkpoint-*") if path.is_dir()),
        key=lambda path: int(path.name.rpartition("-")[2]),
    )
    for path in reversed(found):
        try:
            return path, json.loads((path / CLOCK).read_text("utf-8"))
        except (OSError, ValueError):
            shutil.rmtree(path)
    return None


def write_whole(path: Path, text: str) -> None:
    """Writes a file that is either as it was or whole, whenever the machine stops."""
    unfinished = path.with_name(path.name + ".new")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(path)


def _to_stderr(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()

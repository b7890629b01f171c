"""What a run leaves behind: metrics, checkpoints that a later run finds, a line of progress."""

from __future__ import annotations

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
    """

    def __init__(
        self,
        folder: Path,
        pace: Pace,
        *,
        save_every_s: float,
        held_out: HeldOut | None = None,
        measure_every_s: float = 600.0,
        say: Callable[[str], None] | None = None,
    ) -> None:
        self.pace = pace
        self._metrics = folder / "metrics.jsonl"
        self._board = SummaryWriter(str(folder / "tensorboard"))
        self._held_out = held_out
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

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
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

"""A run's folder: what was asked, checkpoints, metrics, the finished model.

run.json          options, data hashes, versions; what it took, once it is finished
metrics.jsonl     one line for each measurement; tensorboard/ has the same as curves
checkpoints/      of a run that is under way
model/            the finished model; there only when it is whole
"""

from __future__ import annotations

import importlib.metadata
import json
import logging
import shutil
import sys
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import datasets
import torch
import transformers
from transformers.trainer_callback import PrinterCallback, ProgressCallback

from cap_training.budget import Clock
from cap_training.data.files import sha256
from cap_training.failures import RunError
from cap_training.pace import Pace
from cap_training.watch import latest, write_whole

MAY_CHANGE = frozenset(
    ("budget_s", "max_tokens", "epochs", "save_every_s", "measure_every_s", "output", "compile")
)
"""Options that a run may go on with other values of."""

_LIBRARIES = ("torch", "transformers", "trl", "peft", "accelerate", "tokenizers")


@dataclass(frozen=True)
class Resumed:
    """Where a run goes on.

    Attributes:
        path: the checkpoint.
        tokens: seen until then.
    """

    path: Path
    tokens: int


class Folder:
    """The folder of one training run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.model = path / "model"
        self.checkpoints = path / "checkpoints"
        self._record = path / "run.json"

    def is_done(self, options: Any) -> bool:
        """Whether the run came to its end with these options.

        Raises:
            RunError: it did with others.
        """
        record = self._read()
        if "finished" not in record or not self.model.is_dir():
            return False
        self._check(record, options)
        return True

    def begin(self, options: Any, *, files: Iterable[Path]) -> None:
        """Notes what is about to be done.

        Raises:
            RunError: a run with other options or data is under way here, or a file is missing.
        """
        try:
            hashes = {str(path): sha256(path) for path in files}
        except OSError as error:
            raise RunError(f"{error.filename} cannot be read: {error.strerror}") from error
        record = self._read()
        if record:
            self._check(record, options)
            if record["data"] != hashes:
                raise RunError(f"The data changed since the run in {self.path} began. {_REMEDY}")
        self.path.mkdir(parents=True, exist_ok=True)
        self._write({"options": _plain(options), "data": hashes, "versions": _versions()})

    def resume(self, clock: Clock) -> Resumed | None:
        """Finds where the run was, and sets `clock` on."""
        found = latest(self.checkpoints)
        if found is None:
            return None
        path, marks = found
        clock.resume(float(marks["elapsed_s"]))
        return Resumed(path, int(marks["tokens"]))

    def finish(self, pace: Pace, **facts: object) -> None:
        """Notes what the run took, and removes its checkpoints."""
        took = {
            "steps": pace.step,
            "tokens": pace.tokens,
            "elapsed_s": round(pace.clock.elapsed_s(), 1),
            **facts,
        }
        self._write(self._read() | {"finished": took})
        shutil.rmtree(self.checkpoints, ignore_errors=True)

    def _check(self, record: Mapping[str, Any], options: Any) -> None:
        before, now = record["options"], _plain(options)
        other = [name for name in now if name not in MAY_CHANGE and before.get(name) != now[name]]
        if other:
            changed = ", ".join(f"{name} was {before.get(name)}" for name in other)
            raise RunError(f"{self.path} holds a run with other options: {changed}. {_REMEDY}")

    def _read(self) -> dict[str, Any]:
        try:
            record = json.loads(self._record.read_text("utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise RunError(f"{self._record} cannot be read: {error}. {_REMEDY}") from error
        return dict(record)

    def _write(self, record: Mapping[str, Any]) -> None:
        write_whole(self._record, json.dumps(record, indent=1, ensure_ascii=False))


_REMEDY = "Choose another folder, or remove this one."


def quiet(trainer: Any) -> None:
    """Leaves the talking to `Watch`."""
    trainer.remove_callback(PrinterCallback)
    trainer.remove_callback(ProgressCallback)


def prepare(seed: int) -> None:
    """Makes a run repeatable, libraries silent, and tiny numbers cheap."""
    transformers.set_seed(seed)
    silence()
    # Denormal numbers cost a CPU a hundred times what others do, and mean nothing here.
    torch.set_flush_denormal(True)


def silence() -> None:
    """Leaves the talking to us."""
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    datasets.disable_progress_bars()
    # TRL sets an option by a name that transformers has given up.
    warnings.filterwarnings("ignore", ".*gradient_checkpointing` is deprecated", FutureWarning)
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)


def say(line: str) -> None:
    """Tells the person who waits."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def _plain(options: Any) -> dict[str, Any]:
    return dict(json.loads(json.dumps(asdict(options), default=str)))


def _versions() -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in _LIBRARIES}

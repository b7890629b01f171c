"""A model that replays recorded CoTs and programs, for benchmarks and tests on real answers."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cap_server.domain import Problem, Prompt, Sample, Sampling
from cap_server.errors import ModelResponseError


@dataclass(frozen=True, slots=True)
class Recording:
    """One question with what models answered it, by the name of the source."""

    question: str
    answer: str
    cots: dict[str, str]
    programs: dict[str, str]


def read_recordings(path: Path) -> list[Recording]:
    """Read a file of recordings: one JSON object a line, gzip where it is named `.gz`.

    Raises:
        ValueError: a line is no recording; the message names file and line.
        OSError: the file cannot be read.
    """
    data = path.read_bytes()
    text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8")
    # Not `splitlines`: JSON may hold other line ends, U+2028 for one, inside its strings.
    lines = enumerate(text.split("\n"), start=1)
    return [_recording(line, where=f"{path}:{i}") for i, line in lines if line.strip()]


def _recording(line: str, *, where: str) -> Recording:
    try:
        row = json.loads(line)
        return Recording(
            row["question"], str(row["answer"]), dict(row["cots"]), dict(row["programs"])
        )
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{where}: expected an object with question, answer, cots and programs"
        ) from error


class RecordedModel:
    """Draw i of a question is what source i answered it, whatever the sampling.

    Args:
        recordings: what is replayed; a question is found by its exact text.
        sources: which sources stand for the draws, in this order.
        shuffle: where it is given, each question with each source of its CoT has an order of the
            sources of its own, the same for the same number.
    """

    def __init__(
        self, recordings: Sequence[Recording], *, sources: Sequence[str], shuffle: int | None = None
    ) -> None:
        self._recordings = {recording.question: recording for recording in recordings}
        self._sources = tuple(sources)
        self._shuffle = shuffle

    @property
    def name(self) -> str:
        return "recorded"

    async def sample(self, prompt: Prompt, *, sampling: Sampling, draw: int) -> Sample:
        """See `Model.sample`. A recording tells no tokens: they count as 0.

        Raises:
            ModelResponseError: the question was not recorded, or not `draw + 1` times.
        """
        recording = self._recordings.get(prompt.problem.question)
        if recording is None:
            raise ModelResponseError("This question was not recorded.", param="question")
        texts = recording.programs if prompt.task == "program" else recording.cots
        sources = self._order(prompt.problem)
        if draw >= len(sources) or sources[draw] not in texts:
            raise ModelResponseError(f"There is no recorded {prompt.task} for draw {draw}.")
        return Sample(texts[sources[draw]])

    def _order(self, problem: Problem) -> tuple[str, ...]:
        if self._shuffle is None:
            return self._sources
        of = f"{self._shuffle}/{problem.question}/{problem.prior.source}"
        return tuple(random.Random(of).sample(self._sources, len(self._sources)))

    async def check(self) -> None:
        return None

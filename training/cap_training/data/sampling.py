"""CoTs and programs for labelled problems, drawn from any OpenAI-compatible model."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cap_server.domain import Problem, Prompt, Sample, Sampling, Task
from cap_server.errors import ModelUnavailableError, PromptTooLongError
from cap_server.ports import Model
from cap_server.prompts import PROMPT_FORMATS, PromptFormatName, cot_prompt
from cap_training.data.files import json_lines
from cap_training.data.journal import Journal
from cap_training.data.problems import question_id

_TRIES = 6


@dataclass(frozen=True, slots=True)
class Labelled:
    """A problem whose answer is known."""

    id: str
    question: str
    answer: str
    choices: tuple[str, ...] = ()

    @property
    def problem(self) -> Problem:
        return Problem(self.question, self.choices)


@dataclass(frozen=True, slots=True)
class Plan:
    """How much to draw.

    Attributes:
        cots, programs: draws of each for every problem; the programs are drawn without a CoT.
        tokens: completion tokens of the whole journal, after which no draw is begun. None: no end.
        concurrency: draws that are under way at once.
        first_wait_s: before a model that is away is asked again; doubled each time.
    """

    cots: int = 4
    programs: int = 4
    temperature: float = 0.8
    top_p: float = 0.95
    max_tokens: int = 512
    tokens: int | None = None
    concurrency: int = 32
    seed: int = 1
    first_wait_s: float = 1.0
    prompt_format: PromptFormatName = "few_shot"


@dataclass(frozen=True, slots=True)
class _Draw:
    labelled: Labelled
    task: Task
    index: int

    @property
    def key(self) -> tuple[str, str, int]:
        return (self.labelled.id, self.task, self.index)


def read_labelled(path: Path) -> Iterator[Labelled]:
    """Rows with `question` and `answer`; `id` and `choices` if they have them.

    Raises:
        ValueError: a row lacks one of the two; the message names the row.
    """
    for at, row in enumerate(json_lines(path), 1):
        if not isinstance(row.get("question"), str) or row.get("answer") is None:
            raise ValueError(f"{path}, row {at}: `question` or `answer` is missing")
        yield Labelled(
            id=str(row.get("id", question_id(row["question"]))),
            question=row["question"],
            answer=str(row["answer"]),
            choices=tuple(map(str, row.get("choices") or ())),
        )


async def sample(
    problems: Iterable[Labelled],
    model: Model,
    plan: Plan,
    journal: Journal,
    *,
    drawn: Callable[[int], None] = lambda tokens: None,
) -> int:
    """Draw what the journal lacks; `drawn` is called after each draw with the tokens it took.

    Returns:
        The completion tokens of the whole journal.

    Raises:
        ModelUnavailableError: the model stayed away; what was drawn is in the journal.
        ModelResponseError: it does not answer as the API says.
    """
    done = {(line["id"], line["task"], line["index"]) for line in journal.lines}
    spent = sum(int(line["completion_tokens"]) for line in journal.lines)
    waiting = iter([draw for draw in _draws(problems, plan) if draw.key not in done])

    async def work() -> None:
        nonlocal spent
        for draw in waiting:
            if plan.tokens is not None and spent >= plan.tokens:
                return
            drawn_sample = await _sampled(draw, model, plan)
            spent += drawn_sample.completion_tokens
            journal.write(_line(draw, drawn_sample, model.name))
            drawn(drawn_sample.completion_tokens)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(plan.concurrency):
                group.create_task(work())
    except* ModelUnavailableError as failures:
        raise failures.exceptions[0] from None
    return spent


def count(problems: Iterable[Labelled], plan: Plan) -> int:
    """How many draws a plan comes to."""
    return sum(plan.cots + plan.programs for _ in problems)


def _draws(problems: Iterable[Labelled], plan: Plan) -> Iterator[_Draw]:
    for labelled in problems:
        for index in range(plan.cots):
            yield _Draw(labelled, "cot", index)
        for index in range(plan.programs):
            yield _Draw(labelled, "program", index)


async def _sampled(draw: _Draw, model: Model, plan: Plan) -> Sample:
    sampling = Sampling(
        temperature=plan.temperature,
        top_p=plan.top_p,
        max_tokens=plan.max_tokens,
        seed=zlib.crc32(f"{plan.seed}:{draw.key}".encode()),
    )
    prompt = _prompt(draw, plan)
    for attempt in range(_TRIES):
        try:
            return await model.sample(prompt, sampling=sampling, draw=draw.index)
        except PromptTooLongError:
            return Sample("", complete=False)
        except ModelUnavailableError:
            if attempt == _TRIES - 1:
                raise
            await asyncio.sleep(plan.first_wait_s * 2**attempt)
    raise AssertionError("unreachable")


def _prompt(draw: _Draw, plan: Plan) -> Prompt:
    if draw.task == "cot":
        return cot_prompt(draw.labelled.problem)
    return PROMPT_FORMATS[plan.prompt_format].program_prompt(draw.labelled.problem)


def _line(draw: _Draw, drawn: Sample, model: str) -> Mapping[str, Any]:
    return {
        "id": draw.labelled.id,
        "task": draw.task,
        "index": draw.index,
        "model": model,
        "text": drawn.text,
        "complete": drawn.complete,
        "prompt_tokens": drawn.prompt_tokens,
        "completion_tokens": drawn.completion_tokens,
    }

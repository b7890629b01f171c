"""Sampled CoTs and programs, judged by the known answer, as training rows."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cap_server.answers import extract, from_value
from cap_server.domain import Answer, Limits
from cap_server.ports import Equality, Sandbox
from cap_server.prompts import PROMPT_FORMATS, PromptFormatName
from cap_training.data.rows import Row, ask, ask_critic, preference, reply, unpaired
from cap_training.data.sampling import Labelled
from cap_training.data.split import split_of

_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class Judged:
    """A text, the answer it comes to, and whether that is the known one."""

    text: str
    answer: str | None
    right: bool


@dataclass(frozen=True, slots=True)
class Judgement:
    """What was drawn for a problem; the same text appears once."""

    labelled: Labelled
    cots: tuple[Judged, ...]
    programs: tuple[Judged, ...]


async def judge(
    problems: Iterable[Labelled],
    lines: Iterable[Mapping[str, Any]],
    *,
    sandbox: Sandbox,
    equality: Equality,
    limits: Limits,
    prompt_format: PromptFormatName = "few_shot",
) -> AsyncIterator[Judgement]:
    """Judge a journal's lines, problem by problem."""
    drawn: dict[str, list[Mapping[str, Any]]] = {}
    for line in lines:
        drawn.setdefault(line["id"], []).append(line)
    bench = _Bench(sandbox, equality, limits, prompt_format)
    for batch in _batches(problems):
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(bench.judgement(each, drawn.get(each.id, ()))) for each in batch
            ]
        for task in tasks:
            yield task.result()


def _batches(problems: Iterable[Labelled]) -> Iterator[tuple[Labelled, ...]]:
    """`itertools.batched`, which Python 3.11 lacks."""
    rest = iter(problems)
    while batch := tuple(itertools.islice(rest, _AT_ONCE)):
        yield batch


class _Bench:
    def __init__(
        self,
        sandbox: Sandbox,
        equality: Equality,
        limits: Limits,
        prompt_format: PromptFormatName,
    ) -> None:
        self._sandbox = sandbox
        self._equality = equality
        self._limits = limits
        self._format = PROMPT_FORMATS[prompt_format]

    async def judgement(self, labelled: Labelled, lines: Iterable[Mapping[str, Any]]) -> Judgement:
        cots: dict[str, None] = {}
        programs: dict[str, None] = {}
        for line in lines:
            if line["task"] == "cot" and line["complete"] and line["text"].strip():
                cots[line["text"].strip()] = None
            elif line["task"] == "program":
                program = self._format.read_program(line["text"], complete=line["complete"])
                if program:
                    programs[program] = None
        return Judgement(
            labelled,
            tuple([await self._cot(labelled, cot) for cot in cots]),
            tuple([await self._program(labelled, program) for program in programs]),
        )

    async def _cot(self, labelled: Labelled, cot: str) -> Judged:
        return await self._judged(labelled, cot, extract(cot, choices=labelled.choices))

    async def _program(self, labelled: Labelled, program: str) -> Judged:
        execution = await self._sandbox.execute(program, limits=self._limits)
        answer = from_value(execution.value) if execution.value is not None else None
        return await self._judged(labelled, program, answer if execution.status == "ok" else None)

    async def _judged(self, labelled: Labelled, text: str, answer: Answer | None) -> Judged:
        if answer is None:
            return Judged(text, None, right=False)
        truth = Answer(labelled.answer)
        if labelled.choices:
            named = await self._equality.option(answer, labelled.choices)
            wanted = await self._equality.option(truth, labelled.choices)
            if named is not None and wanted is not None:
                return Judged(text, answer.text, right=named == wanted)
        return Judged(text, answer.text, right=await self._equality.same(answer, truth))


def prompt_completions(
    judgement: Judgement, rng: random.Random, *, origin: str = "sampled", most: int = 4
) -> Iterator[Row]:
    """Stage 1's rows: every program is right; CoTs are right and wrong by turns.

    There are at most `most` rows with a CoT for one problem, and as many critic rows.
    """
    programs = [judged.text for judged in judgement.programs if judged.right]
    if not programs:
        return
    yield _row(judgement, None, rng.choice(programs), origin)
    for cot in _by_turns(judgement.cots, rng)[:most]:
        yield _row(judgement, cot, rng.choice(programs), origin)
    for judged in _by_turns((*judgement.cots, *judgement.programs), rng)[:most]:
        yield _critic_row(judgement, judged, origin)


def preferences(
    judgement: Judgement, rng: random.Random, *, most: int = 4
) -> Iterator[dict[str, Any]]:
    """Stage 2's pairs: a right program and a true verdict over a wrong program and a false one."""
    right = [judged for judged in judgement.programs if judged.right]
    wrong = [judged for judged in judgement.programs if not judged.right]
    facts = _facts(judgement)
    prior: list[Judged | None] = [*_by_turns(judgement.cots, rng), None]
    for cot, good, bad in list(
        zip(prior, _shuffled(right, rng), _shuffled(wrong, rng), strict=False)
    )[:most]:
        is_right = None if cot is None else cot.right
        yield preference(
            ask(judgement.labelled.question, None if cot is None else cot.text),
            reply(good.text, is_right),
            reply(bad.text, None if is_right is None else not is_right),
            facts | {"cot": None if cot is None else cot.text},
        )


def unpaired_rows(
    judgement: Judgement, rng: random.Random, *, most: int = 4
) -> Iterator[dict[str, Any]]:
    """Programs with a label each, wanted or not, for losses that need no pairs."""
    for judged in _by_turns(judgement.programs, rng)[:most]:
        cot = rng.choice([None, *judgement.cots])
        right = None if cot is None else cot.right
        verdict = right if judged.right or right is None else not right
        yield unpaired(
            ask(judgement.labelled.question, None if cot is None else cot.text),
            reply(judged.text, verdict),
            label=judged.right,
            facts=_facts(judgement) | {"cot": None if cot is None else cot.text},
        )


def _by_turns(judged: Sequence[Judged], rng: random.Random) -> list[Judged]:
    """Shuffled, right and wrong by turns while both last, and no more of one than of the other."""
    right = _shuffled([each for each in judged if each.right], rng)
    wrong = _shuffled([each for each in judged if not each.right and each.answer], rng)
    if not right or not wrong:
        return (right or wrong)[:1]
    return [each for pair in zip(wrong, right, strict=False) for each in pair]


def _shuffled(items: Sequence[Judged], rng: random.Random) -> list[Judged]:
    return rng.sample(list(items), len(items))


def _facts(judgement: Judgement) -> dict[str, Any]:
    labelled = judgement.labelled
    return {
        "question": labelled.question,
        "answer": labelled.answer,
        "id": labelled.id,
        "split": split_of(labelled.id),
    }


def _row(judgement: Judgement, cot: Judged | None, program: str, origin: str) -> Row:
    right = None if cot is None else cot.right
    text = None if cot is None else cot.text
    question = judgement.labelled.question
    return Row(
        user=ask(question, text),
        completion=reply(program, right),
        cot=text,
        cot_right=right,
        origin=origin,
        source=judgement.labelled.id,
        **_facts(judgement),
    )


def _critic_row(judgement: Judgement, judged: Judged, origin: str) -> Row:
    return Row(
        user=ask_critic(judgement.labelled.question, judged.text),
        completion="yes" if judged.right else "no",
        cot=judged.text,
        cot_right=judged.right,
        kind="critic",
        origin=origin,
        source=judgement.labelled.id,
        **_facts(judgement),
    )

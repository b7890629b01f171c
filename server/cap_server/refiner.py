"""One refinement, from the prior to the answer: deadline, strategy, and what was spent."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

from cap_server import answers
from cap_server.deadline import ending_at
from cap_server.domain import (
    Answer,
    Budget,
    Choice,
    Limits,
    Problem,
    Refinement,
    Sampling,
    Usage,
)
from cap_server.errors import DeadlineError
from cap_server.events import Tell, nobody
from cap_server.strategies import Strategy
from cap_server.tools import Tools
from cap_server.trust import NEWCOMERS, Estimates
from cap_server.workbench import Workbench


async def refine(
    problem: Problem,
    *,
    tools: Tools,
    strategy: Strategy,
    sampling: Sampling,
    budget: Budget,
    limits: Limits,
    trust: Estimates = NEWCOMERS,
    tell: Tell = nobody,
) -> Refinement:
    """Refine `problem`'s prior by `strategy`.

    Args:
        problem: as the caller has it.
        tools: what draws, runs and compares.
        strategy: how draws are spent, and how one answer is chosen.
        sampling: how texts are drawn.
        budget: what may be spent.
        limits: what one program may use.
        trust: how good sources and model are believed to be.
        tell: called with what happens, as it happens.

    Raises:
        DeadlineError: the deadline passed, and there is neither an answer nor a prior to return.
        CapError: a model or the sandbox failed. A program that fails never ends a refinement.
    """
    started = time.perf_counter()
    deadline = asyncio.get_running_loop().time() + budget.deadline_s
    bench = Workbench(
        tools,
        sampling=sampling,
        budget=budget,
        limits=limits,
        deadline=deadline,
        trust=trust,
        tell=tell,
    )
    problem = await _read(problem, bench)
    with ending_at(deadline):
        choice = await strategy.refine(problem, bench)
    if bench.failures and not any(each.kind == "program" for each in bench.candidates):
        raise bench.failures[0]
    if bench.stopped_by == "deadline" and choice.answer is None:
        raise DeadlineError(
            f"No answer was found within the deadline of {budget.deadline_s:g} s.",
            param="budget.deadline_s",
        )
    refinement = _refinement(problem, choice, bench, wall_s=time.perf_counter() - started)
    tools.refined(problem, strategy.name, refinement)
    return refinement


async def _read(problem: Problem, bench: Workbench) -> Problem:
    """`problem` with its choices bare, and with its prior's answer: the one named, or the CoT's."""
    problem = replace(problem, choices=tuple(answers.unlabelled(problem.choices)))
    prior = problem.prior
    answer = prior.answer
    if answer is None and prior.cot is not None:
        answer = answers.extract(prior.cot, choices=problem.choices)
    if answer is not None:
        answer = await bench.option(answer, problem) or answer
    return replace(problem, prior=replace(prior, answer=answer))


def _refinement(problem: Problem, choice: Choice, bench: Workbench, *, wall_s: float) -> Refinement:
    original: Answer | None = problem.prior.answer
    return Refinement(
        decision=choice.decision,
        answer=choice.answer,
        original_answer=original,
        confidence=choice.confidence,
        winner=choice.winner,
        candidates=tuple(bench.candidates),
        usage=bench.usage + Usage(wall_s=wall_s),
        stopped_by=bench.stopped_by,
        trace=tuple(bench.trace),
        warnings=tuple(dict.fromkeys(bench.warnings)),
        pattern=choice.pattern,
    )

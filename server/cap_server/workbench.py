"""Where one request's candidates are made: draws from the models, runs in the sandbox, all counted.

Strategies see nothing else. Draws of a wave run at once, a program runs the moment its text is
complete, and every limit of the request holds here: its budget, its deadline, its seed.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import replace
from functools import partial
from hashlib import blake2b
from typing import TypeVar

from cap_server import answers
from cap_server.domain import (
    Answer,
    Budget,
    Candidate,
    CriticName,
    Execution,
    Limits,
    Prior,
    Problem,
    Prompt,
    Sample,
    Sampling,
    Step,
    StoppedBy,
    Task,
    Usage,
)
from cap_server.drawing import Draw, Drawing
from cap_server.errors import CapError
from cap_server.events import Drawn, Executed, Tell, nobody
from cap_server.judging import judged
from cap_server.ports import Model
from cap_server.prompts import cot_prompt
from cap_server.tokens import TokenBudget
from cap_server.tools import Tools
from cap_server.trust import NEWCOMERS, Estimates

T = TypeVar("T")

SEVERAL_DRAWS_TEMPERATURE = 0.7
"""Draws must differ for a vote to mean anything; one draw alone is best at its most likely text."""


class Workbench:
    """One request's bench.

    Attributes:
        candidates: all that was drawn so far, in the order in which it was completed.
        usage: what was spent so far.
        stopped_by: the limit that kept a draw from being made or finished, if one did.
        trace: what the strategy noted on its way.
        warnings: what did not go as the request asked, for the client to read.
        failures: why draws failed, in order.
        trust: how good the sources and the model are believed to be.

    Args:
        deadline: when draws end, on `asyncio`'s loop clock.
        tell: called with what happens, as it happens.
    """

    def __init__(
        self,
        tools: Tools,
        *,
        sampling: Sampling,
        budget: Budget,
        limits: Limits,
        deadline: float,
        trust: Estimates = NEWCOMERS,
        tell: Tell = nobody,
    ) -> None:
        self.candidates: list[Candidate] = []
        self.usage = Usage()
        self.stopped_by: StoppedBy | None = None
        self.trace: list[Step] = []
        self.warnings: list[str] = []
        self.failures: list[CapError] = []
        self.trust = trust
        self._tools = tools
        self._tell = tell
        self._sampling = sampling
        self._budget = budget
        self._limits = limits
        self._deadline = deadline
        self._tokens = TokenBudget(budget.tokens)
        self._next_draw: dict[Task, int] = {"cot": 0, "program": 0}
        self._executions: dict[str, Execution] = {}
        self._scores: dict[tuple[CriticName, str], float] = {}
        self._running: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    def note(self, *steps: Step) -> None:
        """Put `steps` on the trace."""
        for step in steps:
            self.trace.append(step)
            if self.candidates:  # else there is nothing yet that anybody could have weighed
                self._tell(step)

    def drawing(
        self, problem: Problem, *, n: int, several: bool | None = None, logprobs: bool = False
    ) -> Drawing:
        """Start drawing `n` programs for `problem`, each run as soon as it is complete.

        Args:
            problem: what they are for.
            n: how many; fewer are drawn when the budget has no room (`stopped_by` says so).
            several: whether they are some of many that must differ; None: where `n` is above 1.
            logprobs: whether candidates tell their log-likelihood.
        """
        sampling = self._resolved(n > 1 if several is None else several, logprobs=logprobs)
        return self._started(problem, n, partial(self._draw_of_program, sampling=sampling))

    def drawing_cots(
        self, problem: Problem, *, n: int, several: bool | None = None, logprobs: bool = False
    ) -> Drawing:
        """Start drawing `n` CoTs, as `drawing` does; none where no model writes them."""
        sampling = self._resolved(n > 1 if several is None else several, logprobs=logprobs)
        return self._started(problem, n, partial(self._draw_of_cot, sampling=sampling))

    async def programs(
        self, problem: Problem, *, n: int, logprobs: bool = False
    ) -> tuple[Candidate, ...]:
        """Draw `n` programs for `problem` and wait for them all.

        Returns:
            In the order of their draws; fewer than `n` when a limit of the request came first
            (`stopped_by` says which) or when some draws failed (`failures`).

        Raises:
            SandboxUnavailableError: the sandbox failed.
        """
        async with self.drawing(problem, n=n, logprobs=logprobs) as drawing:
            return tuple([candidate async for candidate in drawing])

    async def cots(
        self, problem: Problem, *, n: int, logprobs: bool = False
    ) -> tuple[Candidate, ...]:
        """Draw `n` CoTs for `problem` and wait for them all, as `programs` does."""
        async with self.drawing_cots(problem, n=n, logprobs=logprobs) as drawing:
            return tuple([candidate async for candidate in drawing])

    async def revision(self, problem: Problem, *, of: Candidate) -> Candidate | None:
        """Draw a program in the light of what became of `of`; None where it cannot be had."""
        prompt = partial(self._tools.prompt_format.revision_prompt, program=of)
        sampling = self._resolved(several=False)
        draw = partial(self._draw_of_program, sampling=sampling, prompt=prompt)
        async with self._started(problem, 1, draw) as drawing:
            return next(iter([candidate async for candidate in drawing]), None)

    async def with_cot(self, problem: Problem) -> Problem:
        """`problem` with a CoT: its own, or one drawn for it where a model writes CoTs.

        A CoT is a help, not a need: where none can be had the problem comes back as it was, and
        `usage.failed` counts the draw.
        """
        if problem.prior.cot is not None or problem.prior.answer is not None:
            return problem
        drawn = await self.cots(problem, n=1)
        if not drawn or self._tools.cot_model is None:
            return problem
        prior = Prior(drawn[0].text, drawn[0].answer, self._tools.cot_model.name)
        return replace(problem, prior=prior)

    async def judged(
        self,
        candidates: Sequence[Candidate],
        problem: Problem,
        *,
        critic: CriticName,
        required: bool,
    ) -> tuple[Candidate, ...]:
        """`candidates` with the scores that `critic` gives them; nothing is asked about twice.

        A critic that cannot be asked leaves them without scores and a warning.

        Raises:
            CriticUnavailableError: it cannot be asked, and it is `required`.
            LogprobsUnavailableError: the upstream does not tell what the critic needs.
        """
        new = [each for each in candidates if (critic, each.text) not in self._scores]
        working = judged(new, problem, name=critic, critic=self._tools.critics.get(critic))
        judgements, usage, warning = await self._in_time(working) or ({}, Usage(), None)
        self.usage += usage
        self._scores |= {(critic, text): score for text, score in judgements.items()}
        if warning is not None:
            if required:
                raise warning
            self.warnings.append(f"{warning.message} The vote decided instead.")
        scored = tuple(
            replace(each, score=self._scores.get((critic, each.text))) for each in candidates
        )
        by_draw = {(each.kind, each.index): each for each in scored}
        self.candidates = [by_draw.get((each.kind, each.index), each) for each in self.candidates]
        return scored

    async def same(self, a: Answer, b: Answer) -> bool:
        """Whether two answers mean the same; if the deadline comes first, they do not."""
        return await self._in_time(self._tools.equality.same(a, b)) or False

    async def option(self, answer: Answer, problem: Problem) -> Answer | None:
        """The letter of the choice that `answer` is; `answer` itself where there are no choices."""
        if not problem.choices:
            return answer
        return await self._in_time(self._tools.equality.option(answer, problem.choices))

    def _started(self, problem: Problem, n: int, draw: Callable[[Problem], Draw | None]) -> Drawing:
        drawing = Drawing(draw, deadline=self._deadline, overdue=self._overdue)
        for _ in range(n):
            if not drawing.add(problem):
                break
        return drawing

    def _overdue(self) -> None:
        self.stopped_by = "deadline"

    def _draw_of_program(
        self,
        problem: Problem,
        *,
        sampling: Sampling,
        prompt: Callable[[Problem], Prompt] | None = None,
    ) -> Draw | None:
        draw = self._next_draw["program"]
        if self._budget.programs is not None and draw >= self._budget.programs:
            self.stopped_by = "programs"
            return None
        self._next_draw["program"] += 1
        asked = (prompt or self._tools.prompt_format.program_prompt)(problem)
        return self._draw(self._tools.model, asked, sampling, draw=draw, read=self._program)

    def _draw_of_cot(self, problem: Problem, *, sampling: Sampling) -> Draw | None:
        if self._tools.cot_model is None:
            return None
        draw = self._next_draw["cot"]
        self._next_draw["cot"] += 1
        model, prompt = self._tools.cot_model, cot_prompt(problem)
        return self._draw(model, prompt, sampling, draw=draw, read=self._cot)

    async def _draw(
        self, model: Model, prompt: Prompt, sampling: Sampling, *, draw: int, read: Read
    ) -> Candidate | None:
        granted = await self._tokens.reserve(sampling.max_tokens or self._tools.max_tokens)
        if not granted:
            self.stopped_by = "tokens"
            return None
        self._count(prompt.task)
        seeded = replace(
            sampling, max_tokens=granted, seed=_seed_of(sampling.seed, prompt.task, draw)
        )
        sample = await self._sample(model, prompt, seeded, draw=draw)
        if sample is None:
            return None
        candidate = await read(sample, draw, prompt.problem)
        self.candidates.append(candidate)
        return candidate

    async def _sample(
        self, model: Model, prompt: Prompt, sampling: Sampling, *, draw: int
    ) -> Sample | None:
        granted, spent, started = sampling.max_tokens or 0, 0, time.perf_counter()
        try:
            sample = await model.sample(prompt, sampling=sampling, draw=draw)
            spent = sample.completion_tokens
            self.usage += Usage(sample.prompt_tokens, sample.completion_tokens, finished=1)
            return sample
        except CapError as failure:
            self.failures.append(failure)
            self.usage += Usage(failed=1)
            return None
        except asyncio.CancelledError:
            # Nobody reports what it spent: all that it might have counts as spent.
            spent = granted
            self.usage += Usage(cancelled=1)
            raise
        finally:
            self.usage += Usage(model_s=time.perf_counter() - started)
            await self._tokens.settle(granted, spent=spent)

    async def _program(self, sample: Sample, draw: int, problem: Problem) -> Candidate:
        text = self._tools.prompt_format.read_program(sample.text, complete=sample.complete)
        drawn = _candidate("program", draw, text, sample)
        self._tell(Drawn(drawn))
        if not text:
            return drawn
        execution = await self._execute(text)
        found = answers.from_value(execution.value) if execution.value else None
        answer = await self.option(found, problem) if found else None
        executed = replace(drawn, answer=answer, execution=execution)
        self._tell(Executed(executed))
        return executed

    async def _cot(self, sample: Sample, draw: int, problem: Problem) -> Candidate:
        found = answers.extract(sample.text, choices=problem.choices) if sample.complete else None
        answer = await self.option(found, problem) if found else None
        cot = replace(_candidate("cot", draw, sample.text, sample), answer=answer)
        self._tell(Drawn(cot))
        return cot

    async def _in_time(self, working: Coroutine[None, None, T]) -> T | None:
        # Formulas can take seconds to compare; most answers take no time, and then none is lost.
        try:
            async with asyncio.timeout_at(self._deadline):
                return await working
        except TimeoutError:
            self.stopped_by = "deadline"
            return None

    async def _execute(self, program: str) -> Execution:
        # The lock makes identical programs wait for the first of them instead of running too.
        async with self._running[program]:
            if program not in self._executions:
                execution = await self._tools.sandbox.execute(program, limits=self._limits)
                self._executions[program] = execution
                self.usage += Usage(executions=1, sandbox_s=execution.wall_s)
            return self._executions[program]

    def _resolved(self, several: bool, *, logprobs: bool = False) -> Sampling:
        temperature = self._sampling.temperature
        if temperature is None:
            temperature = SEVERAL_DRAWS_TEMPERATURE if several else 0.0
        return replace(self._sampling, temperature=temperature, logprobs=logprobs)

    def _count(self, task: Task) -> None:
        self.usage += Usage(programs=1) if task == "program" else Usage(cots=1)


Read = Callable[[Sample, int, Problem], Awaitable[Candidate]]


def _candidate(kind: Task, draw: int, text: str, sample: Sample) -> Candidate:
    return Candidate(
        kind,
        draw,
        text,
        prompt_tokens=sample.prompt_tokens,
        completion_tokens=sample.completion_tokens,
        log_likelihood=sample.log_likelihood,
    )


def _seed_of(seed: int | None, task: Task, draw: int) -> int | None:
    """A draw's own seed.

    Hashed, not counted up: servers that draw n samples from one seed use seed, seed + 1, …, so
    neighbouring seeds would repeat each other's samples.
    """
    if seed is None:
        return None
    digest = blake2b(f"{seed}/{task}/{draw}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") >> 1

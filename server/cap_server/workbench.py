"""Where one request's candidates are made: draws from the models, runs in the sandbox, all counted.

Strategies see nothing else. A wave of draws runs at once, a program runs the moment its text is
complete, and every limit of the request holds here: its budget, its deadline, its seed.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import TypeVar

from cap_server import answers
from cap_server.domain import (
    Answer,
    Budget,
    Candidate,
    Execution,
    Limits,
    Problem,
    Prompt,
    Sample,
    Sampling,
    StoppedBy,
    Task,
    Usage,
)
from cap_server.errors import CapError
from cap_server.ports import Equality, Model, Sandbox
from cap_server.prompts import PromptFormat, cot_prompt
from cap_server.tokens import TokenBudget

T = TypeVar("T")

SEVERAL_DRAWS_TEMPERATURE = 0.7
"""Draws must differ for a vote to mean anything; one draw alone is best at its most likely text."""


@dataclass(frozen=True, slots=True)
class Tools:
    """What every request works with. `cot_model` is None where CoTs are not written here.

    Attributes:
        max_tokens: the ceiling of a draw whose request names none.
    """

    model: Model
    prompt_format: PromptFormat
    sandbox: Sandbox
    equality: Equality
    cot_model: Model | None = None
    max_tokens: int = 512


class Workbench:
    """One request's bench.

    Attributes:
        candidates: all that was drawn so far, in the order in which it was completed.
        usage: what was spent so far.
        stopped_by: the limit that kept a draw from being made or finished, if one did.

    Args:
        deadline: when waves end, on `asyncio`'s loop clock.
    """

    def __init__(
        self,
        tools: Tools,
        *,
        sampling: Sampling,
        budget: Budget,
        limits: Limits,
        deadline: float,
    ) -> None:
        self.candidates: list[Candidate] = []
        self.usage = Usage()
        self.stopped_by: StoppedBy | None = None
        self._tools = tools
        self._sampling = sampling
        self._budget = budget
        self._limits = limits
        self._deadline = deadline
        self._tokens = TokenBudget(budget.tokens)
        self._failures: list[CapError] = []
        self._next_draw: dict[Task, int] = {"cot": 0, "program": 0}
        self._executions: dict[str, Execution] = {}
        self._running: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def programs(self, problem: Problem, *, n: int) -> tuple[Candidate, ...]:
        """Draw `n` programs for `problem`, at once, and run each as soon as it is complete.

        Returns:
            In the order of their draws; fewer than `n` when a limit of the request came first
            (`stopped_by` says which) or when some draws failed.

        Raises:
            CapError: every draw failed; the first failure.
            SandboxUnavailableError: the sandbox failed.
        """
        prompt = self._tools.prompt_format.program_prompt(problem)
        if self._budget.programs is not None and n > (
            left := self._budget.programs - self.usage.programs
        ):
            n, self.stopped_by = left, "programs"
        return await self._wave(self._tools.model, prompt, n=n, read=self._program)

    async def cots(self, problem: Problem, *, n: int) -> tuple[Candidate, ...]:
        """Draw `n` CoTs for `problem`, at once; none where no model writes CoTs.

        Raises:
            CapError: every draw failed; the first failure.
        """
        if self._tools.cot_model is None:
            return ()
        return await self._wave(self._tools.cot_model, cot_prompt(problem), n=n, read=self._cot)

    async def with_cot(self, problem: Problem) -> Problem:
        """`problem` with a CoT: its own, or one drawn for it where a model writes CoTs.

        A CoT is a help, not a need: where none can be had the problem comes back as it was, and
        `usage.failed` counts the draw.
        """
        if problem.prior.cot is not None or problem.prior.answer is not None:
            return problem
        try:
            drawn = await self.cots(problem, n=1)
        except CapError:
            return problem
        return problem.given(drawn[0].text) if drawn else problem

    async def same(self, a: Answer, b: Answer) -> bool:
        """Whether two answers mean the same; if the deadline comes first, they do not."""
        return await self._in_time(self._tools.equality.same(a, b)) or False

    async def option(self, answer: Answer, problem: Problem) -> Answer | None:
        """The letter of the choice that `answer` is; `answer` itself where there are no choices."""
        if not problem.choices:
            return answer
        return await self._in_time(self._tools.equality.option(answer, problem.choices))

    async def _wave(
        self, model: Model, prompt: Prompt, *, n: int, read: Read
    ) -> tuple[Candidate, ...]:
        first = self._next_draw[prompt.task]
        self._next_draw[prompt.task] += n
        before, failed_before = len(self.candidates), len(self._failures)
        sampling = self._resolved(n)
        try:
            async with asyncio.timeout_at(self._deadline), asyncio.TaskGroup() as group:
                for draw in range(first, first + n):
                    group.create_task(self._draw(model, prompt, sampling, draw=draw, read=read))
        except TimeoutError:
            self.stopped_by = "deadline"
        except BaseExceptionGroup as group_error:
            raise _only_ours(group_error) from None
        made = self.candidates[before:]
        if not made and len(self._failures) > failed_before:
            raise self._failures[failed_before]
        return tuple(sorted(made, key=lambda candidate: candidate.index))

    async def _draw(
        self, model: Model, prompt: Prompt, sampling: Sampling, *, draw: int, read: Read
    ) -> None:
        granted = await self._tokens.reserve(sampling.max_tokens or self._tools.max_tokens)
        if not granted:
            self.stopped_by = "tokens"
            return
        self._count(prompt.task)
        seeded = replace(
            sampling, max_tokens=granted, seed=_seed_of(sampling.seed, prompt.task, draw)
        )
        sample = await self._sample(model, prompt, seeded, draw=draw)
        if sample is not None:
            self.candidates.append(await read(sample, draw, prompt.problem))

    async def _sample(
        self, model: Model, prompt: Prompt, sampling: Sampling, *, draw: int
    ) -> Sample | None:
        granted, spent, started = sampling.max_tokens or 0, 0, time.perf_counter()
        try:
            sample = await model.sample(prompt, sampling=sampling, draw=draw)
            spent = sample.completion_tokens
            self.usage += Usage(sample.prompt_tokens, sample.completion_tokens)
            return sample
        except CapError as failure:
            self._failures.append(failure)
            self.usage += Usage(failed=1)
            return None
        finally:
            self.usage += Usage(model_s=time.perf_counter() - started)
            await self._tokens.settle(granted, spent=spent)

    async def _program(self, sample: Sample, draw: int, problem: Problem) -> Candidate:
        text = self._tools.prompt_format.read_program(sample.text, complete=sample.complete)
        execution = await self._execute(text) if text else None
        found = answers.from_value(execution.value) if execution and execution.value else None
        answer = await self.option(found, problem) if found else None
        return Candidate(
            "program", draw, text, answer, execution, sample.prompt_tokens, sample.completion_tokens
        )

    async def _cot(self, sample: Sample, draw: int, problem: Problem) -> Candidate:
        found = answers.extract(sample.text, choices=problem.choices) if sample.complete else None
        answer = await self.option(found, problem) if found else None
        spent = (sample.prompt_tokens, sample.completion_tokens)
        return Candidate("cot", draw, sample.text, answer, None, *spent)

    async def _in_time(self, comparing: Coroutine[None, None, T]) -> T | None:
        # Formulas can take seconds to compare; most answers take no time, and then none is lost.
        try:
            async with asyncio.timeout_at(self._deadline):
                return await comparing
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

    def _resolved(self, n: int) -> Sampling:
        if self._sampling.temperature is not None:
            return self._sampling
        return replace(self._sampling, temperature=SEVERAL_DRAWS_TEMPERATURE if n > 1 else 0.0)

    def _count(self, task: Task) -> None:
        self.usage += Usage(programs=1) if task == "program" else Usage(cots=1)


Read = Callable[[Sample, int, Problem], Awaitable[Candidate]]


def _seed_of(seed: int | None, task: Task, draw: int) -> int | None:
    """A draw's own seed.

    Hashed, not counted up: servers that draw n samples from one seed use seed, seed + 1, …, so
    neighbouring seeds would repeat each other's samples.
    """
    if seed is None:
        return None
    digest = blake2b(f"{seed}/{task}/{draw}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") >> 1


def _only_ours(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first of our own errors in `group`; all of it where it holds a fault of the code."""
    failure: BaseException = group
    if group.split(CapError)[1] is None:
        while isinstance(failure, BaseExceptionGroup):
            failure = failure.exceptions[0]
    return failure

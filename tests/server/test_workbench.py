"""What the bench counts, limits, repeats and cancels."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import pytest

from cap_server.domain import Answer, Budget, Execution, Limits, Prompt, Sample, Sampling
from cap_server.errors import (
    CapError,
    DeadlineError,
    ModelUnavailableError,
    PromptTooLongError,
    SandboxUnavailableError,
)
from cap_server.refiner import refine
from cap_server.strategies import STRATEGIES, Majority
from cap_server.testing import FakeSandbox, ScriptedModel
from tests.server.benches import (
    PROBLEM,
    bench,
    programs_that_come_to,
    tools,
    until,
)


class _GatedModel(ScriptedModel):
    """Holds every draw back but the first, which completes at once."""

    def __init__(self, script: Sequence[str | Sample | CapError], gate: asyncio.Event) -> None:
        super().__init__(script)
        self._gate = gate

    async def sample(self, prompt: Prompt, *, sampling: Sampling, draw: int) -> Sample:
        if draw > 0:
            await self._gate.wait()
        return await super().sample(prompt, sampling=sampling, draw=draw)


async def test_a_program_runs_while_other_draws_are_still_being_written() -> None:
    script, sandbox = programs_that_come_to(18, 18)
    gate = asyncio.Event()
    wave = asyncio.ensure_future(bench(_GatedModel(script, gate), sandbox).programs(PROBLEM, n=2))
    await until(lambda: sandbox.executed)
    assert sandbox.executed == [script[0]]
    gate.set()
    assert len(await wave) == 2


async def test_identical_programs_run_once_and_each_counts_as_a_candidate() -> None:
    sandbox = FakeSandbox({"answer=18": 18})
    at = bench(ScriptedModel(["answer=18"]), sandbox)
    candidates = await at.programs(PROBLEM, n=5)
    assert [each.answer for each in candidates] == [Answer("18")] * 5
    assert (sandbox.executed, at.usage.programs, at.usage.executions) == (["answer=18"], 5, 1)


async def test_usage_adds_up_all_draws() -> None:
    script = [Sample("answer=1", prompt_tokens=10, completion_tokens=3), Sample("", True, 10, 1)]
    at = bench(ScriptedModel(script), FakeSandbox({"answer=1": 1}))
    await at.programs(PROBLEM, n=2)
    assert (at.usage.prompt_tokens, at.usage.completion_tokens) == (20, 4)


async def test_draws_of_one_request_have_different_seeds_and_a_repeat_has_the_same() -> None:
    seen = []
    for _ in range(2):
        model = ScriptedModel(["answer=1"])
        await bench(model, FakeSandbox({}), sampling=Sampling(seed=7)).programs(PROBLEM, n=16)
        seen.append([each.seed for each in model.samplings])
    assert seen[0] == seen[1]
    seeds = [seed for seed in seen[0] if seed is not None]
    assert len(set(seeds)) == 16
    spaced = sorted(seeds)
    assert all(b - a >= 64 for a, b in pairwise(spaced))


async def test_a_second_wave_continues_the_draws_of_the_first() -> None:
    model = ScriptedModel(["answer=1"])
    at = bench(model, FakeSandbox({}), sampling=Sampling(seed=7))
    first = await at.programs(PROBLEM, n=2)
    second = await at.programs(PROBLEM, n=2)
    assert [each.index for each in first + second] == [0, 1, 2, 3]
    assert len({each.seed for each in model.samplings}) == 4


@pytest.mark.parametrize(("n", "temperature"), [(1, 0.0), (2, 0.7)])
async def test_one_draw_is_greedy_and_several_differ_unless_the_request_says_otherwise(
    n: int, temperature: float
) -> None:
    model = ScriptedModel(["answer=1"])
    await bench(model, FakeSandbox({})).programs(PROBLEM, n=n)
    await bench(model, FakeSandbox({}), sampling=Sampling(temperature=1.3)).programs(PROBLEM, n=n)
    assert [each.temperature for each in model.samplings] == [temperature] * n + [1.3] * n


async def test_the_program_budget_ends_a_wave_early_and_says_so() -> None:
    at = bench(ScriptedModel(["answer=1"]), FakeSandbox({}), budget=Budget(programs=3))
    assert len(await at.programs(PROBLEM, n=8)) == 3
    assert at.stopped_by == "programs"
    assert await at.programs(PROBLEM, n=8) == ()


async def test_a_budget_that_suffices_stops_nothing() -> None:
    budget = Budget(programs=8, tokens=8 * 512)
    at = bench(ScriptedModel(["answer=1"]), FakeSandbox({}), budget=budget)
    assert len(await at.programs(PROBLEM, n=8)) == 8
    assert at.stopped_by is None


@pytest.mark.parametrize("tokens", [1, 100, 512, 700, 2000])
async def test_the_token_budget_is_never_overdrawn(tokens: int) -> None:
    class Greedy(ScriptedModel):
        async def sample(self, prompt: Prompt, *, sampling: Sampling, draw: int) -> Sample:
            await super().sample(prompt, sampling=sampling, draw=draw)
            return Sample("answer=1", completion_tokens=min(60, sampling.max_tokens or 0))

    at = bench(Greedy([""], delay_s=0.001), FakeSandbox({}), budget=Budget(tokens=tokens))
    drawn = await at.programs(PROBLEM, n=64)
    assert at.usage.completion_tokens <= tokens
    assert len(drawn) == min(64, -(-tokens // 60))
    assert at.stopped_by == ("tokens" if len(drawn) < 64 else None)


async def test_the_deadline_cancels_what_runs_and_the_best_answer_so_far_is_returned() -> None:
    script, sandbox = programs_that_come_to(18, 18, 18)
    model = _GatedModel(script, asyncio.Event())
    result = await refine(
        PROBLEM,
        tools=tools(model, sandbox),
        strategy=Majority(programs=3, overrule=0),
        sampling=Sampling(),
        budget=Budget(deadline_s=0.1),
        limits=Limits(),
    )
    assert (result.decision, result.answer) == ("corrected", Answer("18"))
    assert result.stopped_by == "deadline"
    assert (len(result.candidates), result.usage.programs) == (1, 3)


async def test_one_program_of_many_before_the_deadline_does_not_overrule_the_prior() -> None:
    script, sandbox = programs_that_come_to(18, 18, 18)
    result = await refine(
        PROBLEM,
        tools=tools(_GatedModel(script, asyncio.Event()), sandbox),
        strategy=Majority(programs=8),
        sampling=Sampling(),
        budget=Budget(deadline_s=0.1),
        limits=Limits(),
    )
    assert (result.decision, result.answer, result.stopped_by) == (
        "kept",
        Answer("26"),
        "deadline",
    )
    assert result.confidence == pytest.approx(0.1)


async def test_a_deadline_without_any_answer_returns_the_prior_or_fails_without_one() -> None:
    slow = ScriptedModel(["answer=18"], delay_s=30)
    at_deadline = {"budget": Budget(deadline_s=0.05), "limits": Limits(), "sampling": Sampling()}
    kept = await refine(
        PROBLEM,
        tools=tools(slow, FakeSandbox({})),
        strategy=Majority(),
        **at_deadline,  # type: ignore[arg-type]  # a dict of different types
    )
    assert (kept.decision, kept.answer, kept.stopped_by) == (
        "unresolved",
        Answer("26"),
        "deadline",
    )
    with pytest.raises(DeadlineError, match=r"deadline of 0.05 s"):
        await refine(
            PROBLEM.without_prior(),
            tools=tools(slow, FakeSandbox({})),
            strategy=Majority(),
            **at_deadline,  # type: ignore[arg-type]
        )


class _EndlessEquality:
    async def same(self, a: Answer, b: Answer) -> bool:
        await asyncio.sleep(60)
        return True

    async def option(self, answer: Answer, choices: Sequence[str]) -> Answer | None:
        return answer


async def test_the_deadline_ends_comparisons_too_and_counts_their_answers_as_different() -> None:
    script, sandbox = programs_that_come_to(18, 18, 18)
    async with asyncio.timeout(10):
        result = await refine(
            PROBLEM,
            tools=replace(tools(ScriptedModel(script), sandbox), equality=_EndlessEquality()),
            strategy=Majority(programs=3),
            sampling=Sampling(),
            budget=Budget(deadline_s=0.2),
            limits=Limits(),
        )
    assert (result.decision, result.answer, result.stopped_by) == (
        "kept",
        Answer("26"),
        "deadline",
    )


async def test_cancelling_a_refinement_cancels_its_draws() -> None:
    model = ScriptedModel(["answer=18"], delay_s=30)
    wave = asyncio.ensure_future(bench(model, FakeSandbox({})).programs(PROBLEM, n=4))
    await until(lambda: len(model.prompts) == 4)
    wave.cancel()
    with pytest.raises(asyncio.CancelledError):
        await wave
    assert model.cancelled == 4


async def test_draws_that_fail_are_counted_and_the_others_go_on() -> None:
    down = ModelUnavailableError("down")
    script, sandbox = programs_that_come_to(18, 18, 18)
    result = await refine(
        PROBLEM,
        tools=tools(ScriptedModel([script[0], down, script[1], script[2]]), sandbox),
        strategy=Majority(programs=4, overrule=0.5),
        sampling=Sampling(),
        budget=Budget(),
        limits=Limits(),
    )
    assert (result.decision, result.usage.failed, result.usage.programs) == ("corrected", 1, 4)


@pytest.mark.parametrize("error", [ModelUnavailableError("down"), PromptTooLongError("long")])
async def test_when_every_draw_fails_the_request_fails_with_the_reason(
    error: ModelUnavailableError | PromptTooLongError,
) -> None:
    for strategy in (cls() for cls in STRATEGIES.values()):
        with pytest.raises(type(error)):
            await refine(
                PROBLEM,
                tools=tools(ScriptedModel([error]), FakeSandbox({})),
                strategy=strategy,
                sampling=Sampling(),
                budget=Budget(),
                limits=Limits(),
            )


async def test_a_cot_model_that_is_down_does_not_keep_a_question_from_being_answered() -> None:
    script, sandbox = programs_that_come_to(18)
    cot_model = ScriptedModel([ModelUnavailableError("down")])
    at = bench(ScriptedModel(script), sandbox, cot_model=cot_model)
    problem = PROBLEM.without_prior()
    assert await at.with_cot(problem) == problem
    assert at.usage.failed == 1


async def test_a_sandbox_that_is_down_fails_the_request() -> None:
    down = FakeSandbox({}, failure=SandboxUnavailableError("down"))
    with pytest.raises(SandboxUnavailableError):
        await bench(ScriptedModel(["answer=18"]), down).programs(PROBLEM, n=3)


async def test_a_fault_of_the_code_is_not_taken_for_a_refusal() -> None:
    class Broken(FakeSandbox):
        async def execute(self, program: str, *, limits: Limits) -> Execution:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await bench(ScriptedModel(["answer=18"]), Broken({})).programs(PROBLEM, n=3)


@pytest.mark.parametrize(
    "sample", [Sample(""), Sample("  \n"), Sample("answer = 12", complete=False)]
)
async def test_an_empty_or_cut_off_program_is_a_candidate_without_an_answer(
    sample: Sample,
) -> None:
    sandbox = FakeSandbox({"answer = 12": 12})
    (candidate,) = await bench(ScriptedModel([sample]), sandbox).programs(PROBLEM, n=1)
    assert (candidate.answer, candidate.execution, sandbox.executed) == (None, None, [])


async def test_a_refinement_never_fails_because_a_program_failed() -> None:
    for status in ("error", "timeout", "memory", "killed", "rejected"):
        sandbox = FakeSandbox({"answer=1": Execution(status)})
        at = bench(ScriptedModel(["answer=1"]), sandbox)
        (candidate,) = await at.programs(PROBLEM, n=1)
        assert candidate.answer is None

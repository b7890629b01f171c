"""Strategies that stop early: what they draw, what they cancel, and that it costs no choice."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cap_server.domain import (
    Answer,
    Budget,
    Limits,
    Prior,
    Problem,
    Prompt,
    Refinement,
    Sample,
    Sampling,
)
from cap_server.errors import CapError, ModelUnavailableError
from cap_server.refiner import refine
from cap_server.strategies import Adaptive, Agreement, Majority, Strategy
from cap_server.testing import ScriptedModel
from cap_server.trust import Estimates, Source
from tests.server.benches import PROBLEM, programs_that_come_to, refinement, tools

STRONG = Estimates({"s": Source(0.97, 0.95, 0.99, 300)}, concentration=0.8, reliability=0.97)
WEAK = Estimates({"s": Source(0.3, 0.25, 0.35, 300)}, concentration=0.8, reliability=0.97)


async def run(
    strategy: Strategy,
    answers: Sequence[int | None],
    *,
    prior: int | None = 26,
    trust: Estimates = WEAK,
    budget: Budget | None = None,
    cots: Sequence[str] = (),
) -> Refinement:
    script, sandbox = programs_that_come_to(*answers)
    given_ = Prior(None, None if prior is None else Answer(str(prior)), source="s")
    writer = ScriptedModel(list(cots), name="s") if cots else None
    return await refine(
        Problem("What is 6 times 3?", prior=given_),
        tools=tools(ScriptedModel(script), sandbox, cot_model=writer),
        strategy=strategy,
        sampling=Sampling(),
        budget=budget or Budget(),
        limits=Limits(),
        trust=trust,
    )


class _Gated(ScriptedModel):
    """Completes the first draws at once, and the others never."""

    def __init__(self, script: Sequence[str | Sample | CapError], *, open_: int) -> None:
        super().__init__(script)
        self._open = open_

    async def sample(self, prompt: Prompt, *, sampling: Sampling, draw: int) -> Sample:
        if draw >= self._open:
            self._delay_s = 600
        return await super().sample(prompt, sampling=sampling, draw=draw)


async def test_majority_cancels_the_draws_that_can_change_nothing_any_more() -> None:
    script, sandbox = programs_that_come_to(*[26] * 8)
    model = _Gated(script, open_=5)
    async with asyncio.timeout(10):
        result = await refine(
            PROBLEM,
            tools=tools(model, sandbox),
            strategy=Majority(programs=8),
            sampling=Sampling(),
            budget=Budget(),
            limits=Limits(),
        )
    assert (result.decision, model.cancelled) == ("confirmed", 3)
    usage = result.usage
    assert (usage.programs, usage.finished, usage.cancelled, usage.failed) == (8, 5, 3, 0)
    assert "3 draws" in result.trace[-1].detail


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.none() | st.integers(0, 3), min_size=1, max_size=9),
    st.none() | st.integers(0, 3),
    st.sampled_from([0.0, 0.4, 0.5, 0.75]),
)
async def test_stopping_early_never_changes_what_the_whole_vote_would_have_chosen(
    answers: list[int | None], prior: int | None, overrule: float
) -> None:
    result = await refinement(
        Majority(programs=len(answers), overrule=overrule), answers, prior=prior
    )
    assert (result.decision, result.answer) == _whole_vote(answers, prior, overrule)


def _whole_vote(
    answers: list[int | None], prior: int | None, overrule: float
) -> tuple[str, Answer | None]:
    votes = [answer for answer in answers if answer is not None]
    shown = None if prior is None else Answer(str(prior))
    if not votes:
        return "unresolved", shown
    most = max(votes.count(each) for each in votes)
    leaders = [each for each in dict.fromkeys(votes) if votes.count(each) == most]
    if prior is None:
        return "answered", Answer(str(leaders[0]))
    if len(leaders) == 1 and leaders[0] != prior and most > overrule * len(answers):
        return "corrected", Answer(str(leaders[0]))
    return ("confirmed" if votes.count(prior) > len(answers) / 2 else "kept"), shown


async def test_adaptive_confirms_a_trusted_source_with_one_program_that_agrees() -> None:
    result = await run(Adaptive(), [26], trust=STRONG)
    assert (result.decision, result.usage.programs) == ("confirmed", 1)
    assert result.confidence > 0.95
    assert result.winner is not None


async def test_adaptive_keeps_a_trusted_source_against_a_few_programs() -> None:
    result = await run(Adaptive(), [18] * 12, trust=STRONG)
    assert (result.decision, result.answer) == ("kept", Answer("26"))
    assert result.usage.programs <= 2
    assert result.winner is None


async def test_one_question_in_eight_is_looked_into_even_where_it_seems_futile() -> None:
    drawn = []
    for n in range(200):
        script, sandbox = programs_that_come_to(*[18] * 12)
        given_ = Prior(None, Answer("26"), source="s")
        result = await refine(
            Problem(f"Question {n}?", prior=given_),
            tools=tools(ScriptedModel(script), sandbox),
            strategy=Adaptive(),
            sampling=Sampling(),
            budget=Budget(),
            limits=Limits(),
            trust=Estimates({"s": Source(0.93, 0.9, 0.95, 300)}, 0.8, 0.97),
        )
        drawn.append(result.usage.programs)
    assert 8 <= sum(each > min(drawn) for each in drawn) <= 50


async def test_adaptive_corrects_a_weak_source_with_a_few_programs_that_agree() -> None:
    result = await run(Adaptive(), [18] * 12, trust=WEAK)
    assert (result.decision, result.answer) == ("corrected", Answer("18"))
    assert 2 <= result.usage.programs <= 4


async def test_adaptive_draws_on_while_programs_disagree_and_says_how_unsure_it_is() -> None:
    result = await run(Adaptive(max_programs=6), [1, 2, 3, 4, 5, 6], trust=WEAK)
    assert result.usage.programs == 6
    assert result.confidence < 0.4


async def test_adaptive_without_a_prior_answers() -> None:
    result = await run(Adaptive(), [18] * 12, prior=None)
    assert (result.decision, result.answer) == ("answered", Answer("18"))


async def test_adaptive_returns_the_prior_untouched_when_every_program_fails() -> None:
    result = await run(Adaptive(max_programs=4), [None] * 4)
    assert (result.decision, result.answer, result.usage.programs) == (
        "unresolved",
        Answer("26"),
        4,
    )


async def test_a_higher_confidence_takes_more_programs() -> None:
    drawn = [
        (await run(Adaptive(confidence=each), [18] * 12)).usage.programs
        for each in (0.5, 0.8, 0.95)
    ]
    assert drawn == sorted(drawn)
    assert drawn[0] < drawn[2]


async def test_adaptive_explains_itself_step_by_step() -> None:
    result = await run(Adaptive(), [18] * 12, trust=WEAK)
    posteriors = [step for step in result.trace if step.event == "posterior"]
    assert [step.programs for step in posteriors] == list(range(1, len(posteriors) + 1))
    assert all(sum(w for _, w in step.weights) == pytest.approx(1, abs=1e-3) for step in posteriors)
    assert result.trace[-1].event == "decided"
    assert "probability" in result.trace[-1].detail
    assert result.confidence == pytest.approx(dict(posteriors[-1].weights)["18"], abs=1e-3)


async def test_the_draws_of_a_wave_that_is_decided_half_way_are_cancelled() -> None:
    # Against a weak source two programs are asked for at once; one that confirms it is enough
    # only when the source is trusted, so trust it half.
    half = Estimates({"s": Source(0.8, 0.75, 0.85, 300)}, concentration=0.5, reliability=0.97)
    result = await run(Adaptive(confidence=0.9), [18, 18, 26, 26, 26, 26], trust=half)
    usage = result.usage
    assert usage.programs == usage.finished + usage.cancelled + usage.failed


async def test_the_program_budget_bounds_every_strategy_and_names_itself() -> None:
    for strategy in (Adaptive(), Agreement(), Majority()):
        result = await run(strategy, [1, 2, 3, 4, 5, 6, 7, 8], budget=Budget(programs=2))
        assert result.usage.programs == 2
        assert result.stopped_by == "programs"


async def test_agreement_stops_at_the_first_program_that_agrees_with_the_cot() -> None:
    result = await run(Agreement(), [18, 26, 18, 18])
    assert (result.decision, result.usage.programs) == ("confirmed", 2)


async def test_agreement_stops_at_the_lead() -> None:
    result = await run(Agreement(lead=2), [18, 17, 18, 18, 18])
    assert (result.decision, result.answer, result.usage.programs) == (
        "corrected",
        Answer("18"),
        4,
    )


@pytest.mark.parametrize(
    ("answers", "decision"),
    [([18, 17, 18], "corrected"), ([17, 18, 18, 17], "corrected"), ([18, 17, 16], "kept")],
)
async def test_agreement_votes_when_neither_comes(answers: list[int], decision: str) -> None:
    result = await run(Agreement(max_programs=len(answers)), answers)
    assert (result.decision, result.usage.programs) == (decision, len(answers))
    assert result.confidence < 0.7
    first_of_the_most = {3: "18", 4: "17"}[len(answers)]
    assert result.answer == Answer("26" if decision == "kept" else first_of_the_most)


async def test_agreement_draws_cots_in_between_where_a_model_writes_them() -> None:
    cots = ["The answer is 5.", "The answer is 17.", "The answer is 18."]
    result = await run(Agreement(), [18, 17, 16], prior=None, cots=cots)
    # CoT 5, program 18, CoT 17, program 17: they agree.
    assert (result.decision, result.answer) == ("answered", Answer("17"))
    assert (result.usage.cots, result.usage.programs) == (2, 2)


@settings(max_examples=60, deadline=None)
@given(
    answers=st.lists(st.none() | st.integers(0, 3), min_size=8, max_size=8),
    prior=st.none() | st.integers(0, 3),
    strategy=st.sampled_from([Adaptive(max_programs=8), Agreement(), Majority()]),
    budget=st.integers(1, 9),
)
async def test_never_more_draws_than_the_budget_and_the_same_again(
    answers: list[int | None], prior: int | None, strategy: Strategy, budget: int
) -> None:
    one, two = [
        await run(strategy, answers, prior=prior, budget=Budget(programs=budget)) for _ in range(2)
    ]
    assert one.usage.programs <= min(budget, 8)
    assert (one.decision, one.answer, one.confidence, one.trace) == (
        two.decision,
        two.answer,
        two.confidence,
        two.trace,
    )
    drawn = {Answer(str(a)) for a in answers if a is not None}
    assert one.answer in drawn | {one.original_answer}
    assert 0 <= one.confidence <= 1


async def test_a_model_that_fails_now_and_then_does_not_stop_adaptive() -> None:
    script, sandbox = programs_that_come_to(18, 18, 18, 18, 18, 18)
    down = ModelUnavailableError("down")
    model = ScriptedModel([down, script[1], down, *script[3:]])
    result = await refine(
        PROBLEM,
        tools=tools(model, sandbox),
        strategy=Adaptive(),
        sampling=Sampling(),
        budget=Budget(),
        limits=Limits(),
        trust=WEAK,
    )
    assert (result.decision, result.answer) == ("corrected", Answer("18"))
    assert result.usage.failed >= 1

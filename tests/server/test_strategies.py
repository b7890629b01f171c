"""What the strategies draw, and what they choose."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cap_server.domain import Answer, Budget, Decision, Limits, Prior, Problem, Sampling
from cap_server.refiner import refine
from cap_server.strategies import STRATEGIES, Majority, Pot, Single, Strategy
from cap_server.testing import ScriptedModel
from tests.server.benches import PROBLEM, programs_that_come_to, refinement, tools


@pytest.mark.parametrize(
    ("answers", "prior", "decision", "answer"),
    [
        ([18, 18, 18, 18], 26, "corrected", "18"),
        ([26, 26, 26, 18], 26, "confirmed", "26"),
        ([26, 26, 18, 18], 26, "kept", "26"),
        ([18, 18, 18, 17], 26, "kept", "26"),
        ([18, 18, 17, 16], 26, "kept", "26"),
        ([18, None, None, None], 26, "kept", "26"),
        ([26, None, None, None], 26, "kept", "26"),
        ([18, 18, 18, None], 26, "kept", "26"),
        ([26, 26, 26, None], 26, "confirmed", "26"),
        ([None, None, None, None], 26, "unresolved", "26"),
        ([None, None, None, None], None, "unresolved", None),
        ([17, 18, 18, None], None, "answered", "18"),
        ([17, 18, 18, 17], None, "answered", "17"),
    ],
)
async def test_majority_overrules_the_prior_only_when_most_programs_agree(
    answers: list[int | None], prior: int | None, decision: Decision, answer: str | None
) -> None:
    result = await refinement(Majority(programs=4), answers, prior=prior)
    assert result.decision == decision
    assert result.answer == (None if answer is None else Answer(answer))
    assert result.original_answer == (None if prior is None else Answer(str(prior)))


@pytest.mark.parametrize(
    ("answers", "confidence"),
    [
        ([18] * 8, 8 / 9),  # the eighth could change nothing: seven of seven
        ([18, None, 18, 18, 18, 18, 18, 18], 0.8),
        ([26, 26, 26, 26, 26, 1, 2, 3], 6 / 7),
        ([26, 26, 1, 26, 2, 3, 26, 26], 0.6),
        ([18, 18, 18, 18, 18, 1, 2, 3], 1 / 9),
        ([18, 18, 18, 26, 17, 1, 2, 3], 2 / 7),
        ([None] * 8, 0.0),
    ],
)
async def test_confidence_is_how_far_the_programs_back_the_returned_answer(
    answers: list[int | None], confidence: float
) -> None:
    result = await refinement(Majority(programs=8), answers)
    assert result.confidence == pytest.approx(confidence)


async def test_a_lower_overrule_share_makes_majority_plain_self_consistency() -> None:
    answers = [18, 18, 17, 16, None]
    assert (await refinement(Majority(programs=5), answers)).decision == "kept"
    assert (await refinement(Majority(programs=5, overrule=0), answers)).decision == "corrected"


async def test_a_tie_keeps_the_prior_even_without_an_overrule_share() -> None:
    result = await refinement(Majority(programs=4, overrule=0), [18, 18, 17, 17])
    assert result.decision == "kept"


async def test_the_winner_is_the_first_program_that_comes_to_the_answer() -> None:
    result = await refinement(Majority(programs=4, overrule=0.5), [None, 18, 18, 18])
    assert result.winner is not None
    assert result.winner.index == 1
    assert result.winner.answer == Answer("18")


async def test_a_kept_prior_comes_with_a_program_only_if_one_backs_it() -> None:
    assert (await refinement(Majority(programs=4), [18, 18, 17, 16])).winner is None
    backed = await refinement(Majority(programs=4), [18, 18, 26, 16])
    assert backed.winner is not None
    assert backed.winner.answer == Answer("26")


@pytest.mark.parametrize(
    ("answer", "decision"), [(18, "corrected"), (26, "confirmed"), (None, "unresolved")]
)
async def test_single_takes_the_word_of_one_program(answer: int | None, decision: Decision) -> None:
    result = await refinement(Single(), [answer])
    assert result.decision == decision
    assert result.usage.programs == 1


async def test_single_and_majority_show_the_cot_to_the_model_and_pot_does_not() -> None:
    script, sandbox = programs_that_come_to(18)
    cases: list[tuple[Strategy, bool]] = [(Single(), True), (Majority(), True), (Pot(), False)]
    for strategy, shown in cases:
        model = ScriptedModel(script)
        await refine(
            PROBLEM,
            tools=tools(model, sandbox),
            strategy=strategy,
            sampling=Sampling(),
            budget=Budget(),
            limits=Limits(),
        )
        for prompt in model.prompts:
            assert ("6 * 3 = 26" in prompt.messages[-1].content) is shown


async def test_pot_still_compares_with_the_prior_that_it_does_not_show() -> None:
    result = await refinement(Pot(programs=2), [26, 26])
    assert result.decision == "confirmed"


async def test_without_a_cot_the_cot_model_writes_one_first() -> None:
    script, sandbox = programs_that_come_to(18)
    model, cot_model = ScriptedModel(script), ScriptedModel(["3 + 3 = 6. The answer is 17."])
    result = await refine(
        Problem("What is 6 times 3?"),
        tools=tools(model, sandbox, cot_model=cot_model),
        strategy=Majority(programs=2),
        sampling=Sampling(),
        budget=Budget(),
        limits=Limits(),
    )
    assert "3 + 3 = 6" in model.prompts[0].messages[-1].content
    assert (result.decision, result.usage.cots, result.usage.programs) == ("answered", 1, 2)
    assert [each.kind for each in result.candidates] == ["cot", "program", "program"]


async def test_choices_are_answered_by_letter_whether_programs_say_letter_or_value() -> None:
    problem = Problem("6 times 3?", ("A. 16", "B. 18", "C. 20"), Prior(cot="The answer is (C)."))
    script, sandbox = programs_that_come_to(18, 18, 99)
    result = await refine(
        problem,
        tools=tools(ScriptedModel(script), sandbox),
        strategy=Majority(programs=3, overrule=0.5),
        sampling=Sampling(),
        budget=Budget(),
        limits=Limits(),
    )
    assert (result.decision, result.answer, result.original_answer) == (
        "corrected",
        Answer("B"),
        Answer("C"),
    )
    assert result.candidates[2].answer is None


@given(
    answers=st.lists(st.none() | st.integers(0, 4), min_size=1, max_size=12),
    prior=st.none() | st.integers(0, 4),
    overrule=st.sampled_from([0.0, 0.3, 0.5, 0.75]),
)
async def test_the_answer_is_a_candidates_or_the_priors_and_decisions_mean_what_they_say(
    answers: list[int | None], prior: int | None, overrule: float
) -> None:
    strategy = Majority(programs=len(answers), overrule=overrule)
    result = await refinement(strategy, answers, prior=prior)
    drawn = {Answer(str(a)) for a in answers if a is not None}
    assert result.answer in drawn | {result.original_answer}
    unchanged = result.answer == result.original_answer
    assert unchanged is (result.decision in {"confirmed", "kept", "unresolved"})
    assert 0 <= result.confidence <= 1
    if result.winner is not None:
        assert result.winner.answer == result.answer
    if result.decision in {"confirmed", "corrected", "answered"}:
        assert result.winner is not None


@given(answers=st.permutations([18, 18, 18, 17, 26, None]))
async def test_the_order_of_draws_changes_neither_decision_nor_answer(
    answers: list[int | None],
) -> None:
    result = await refinement(Majority(programs=6, overrule=0.4), answers)
    assert (result.decision, result.answer) == ("corrected", Answer("18"))


def test_every_strategy_is_listed_under_its_own_name() -> None:
    assert all(cls().name == name for name, cls in STRATEGIES.items())
    assert all(cls.summary and cls.when and cls.source for cls in STRATEGIES.values())

"""Critics, and the strategies that listen to them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from cap_server.adapters.upstream import Upstream, model_client
from cap_server.adapters.vllm import VLLMModel
from cap_server.critics import Contrastive, Generative, Likelihood, RewardModel
from cap_server.domain import (
    Answer,
    Budget,
    Candidate,
    CriticName,
    Judgement,
    Limits,
    Message,
    Prior,
    Problem,
    Prompt,
    Refinement,
    Sample,
    Sampling,
    Usage,
)
from cap_server.errors import (
    CriticUnavailableError,
    LogprobsUnavailableError,
    ModelUnavailableError,
)
from cap_server.ports import Critic
from cap_server.prompts import PROMPT_FORMATS
from cap_server.refiner import refine
from cap_server.strategies import (
    Agreement,
    BestOfN,
    BoNBoN,
    Iterate,
    Majority,
    Prove,
    Strategy,
)
from cap_server.testing import FakeSandbox, ScriptedModel
from tests.server.benches import PROBLEM, programs_that_come_to, tools
from tests.server.upstreams import Respond, answers, breaks_off, completes, refuses, upstream

TRAINED = PROMPT_FORMATS["trained"]
PROGRAM = Candidate("program", 0, "answer=18", Answer("18"))


class _Scores:
    """A critic that has a score for every text; others it has never heard of."""

    def __init__(self, scores: Mapping[str, float]) -> None:
        self.asked: list[str] = []
        self._scores = scores

    async def judge(self, problem: Problem, candidate: Candidate) -> Judgement:
        self.asked.append(candidate.text)
        return Judgement(self._scores.get(candidate.text, 0.1), Usage(10, 1))


class _Down:
    async def judge(self, problem: Problem, candidate: Candidate) -> Judgement:
        raise CriticUnavailableError("The critic cannot be asked.")


async def run(
    strategy: Strategy,
    answers_: Sequence[int | None],
    critics: Mapping[CriticName, Critic],
    *,
    problem: Problem = PROBLEM,
    cots: Sequence[str | Sample] = (),
) -> Refinement:
    script, sandbox = programs_that_come_to(*answers_)
    writer = ScriptedModel(list(cots), name="writer") if cots else None
    given = replace(tools(ScriptedModel(script), sandbox, cot_model=writer), critics=critics)
    return await refine(
        problem,
        tools=given,
        strategy=strategy,
        sampling=Sampling(),
        budget=Budget(),
        limits=Limits(),
    )


async def test_best_of_n_takes_the_answer_of_the_program_that_scores_highest() -> None:
    script, _ = programs_that_come_to(18, 18, 17)
    critic = _Scores({str(script[2]): 0.9, str(script[0]): 0.5})
    result = await run(BestOfN(programs=3), [18, 18, 17], {"generative": critic})
    assert (result.decision, result.answer, result.confidence) == ("corrected", Answer("17"), 0.9)
    assert [each.score for each in result.candidates] == [0.5, 0.1, 0.9]
    assert result.usage.prompt_tokens == 30


async def test_identical_programs_are_judged_once_and_failed_ones_never() -> None:
    critic = _Scores({})
    sandbox = FakeSandbox({"answer=18": 18})
    given = tools(ScriptedModel(["answer=18", "answer=18", "boom"]), sandbox)
    result = await refine(
        PROBLEM,
        tools=replace(given, critics={"generative": critic}),
        strategy=BestOfN(programs=3),
        sampling=Sampling(),
        budget=Budget(),
        limits=Limits(),
    )
    assert critic.asked == ["answer=18"]
    assert result.answer == Answer("18")


@pytest.mark.parametrize("critics", [{}, {"generative": _Down()}])
async def test_without_its_critic_a_strategy_votes_and_says_so(
    critics: Mapping[CriticName, Critic],
) -> None:
    for strategy in (BestOfN(programs=3), Majority(programs=3, overrule=0.5, weights="generative")):
        result = await run(strategy, [18, 18, 17], critics)
        assert (result.decision, result.answer) == ("corrected", Answer("18"))
        assert len(result.warnings) == 1
        assert "vote decided" in result.warnings[0]


@pytest.mark.parametrize("critics", [{}, {"generative": _Down()}])
async def test_a_critic_that_is_required_and_missing_fails_the_request(
    critics: Mapping[CriticName, Critic],
) -> None:
    required: list[Strategy] = [
        BestOfN(critic_required=True),
        BoNBoN(critic_required=True),
        Majority(weights="generative", critic_required=True),
        Agreement(weights="generative", critic_required=True),
    ]
    for strategy in required:
        with pytest.raises(CriticUnavailableError):
            await run(strategy, [18, 18, 17], critics)


async def test_a_vote_can_be_weighed_by_a_critic() -> None:
    script, _ = programs_that_come_to(18, 18, 17)
    critic = _Scores({str(script[2]): 1.0})
    weighed = Majority(programs=3, overrule=0.5, weights="generative")
    result = await run(weighed, [18, 18, 17], {"generative": critic})
    assert (result.decision, result.answer) == ("corrected", Answer("17"))


async def test_a_critic_is_asked_about_each_text_once_however_often_its_score_is_needed() -> None:
    critic = _Scores({})
    result = await run(
        Agreement(weights="generative", max_programs=4), [18, 17, 16, 15], {"generative": critic}
    )
    assert len(critic.asked) == len(set(critic.asked)) == 4
    assert result.usage.prompt_tokens == 40


async def test_nothing_is_learned_of_a_source_from_programs_that_are_no_witnesses() -> None:
    for strategy in (Iterate(), Prove()):
        assert (await run(strategy, [26], {})).pattern is None
    assert (await run(Majority(programs=1), [26], {})).pattern is not None


async def test_bonbon_goes_on_from_the_best_cot_and_the_requests_own_competes() -> None:
    cots = ["It is 9. The answer is 9.", "It is 18. The answer is 18."]
    best = _Scores({cots[1]: 0.8, PROBLEM.prior.cot or "": 0.3})
    result = await run(BoNBoN(cots=2, programs=2), [18], {"generative": best}, cots=cots)
    assert set(best.asked[:3]) == {*cots, PROBLEM.prior.cot}
    assert (result.decision, result.usage.cots) == ("corrected", 2)
    own = _Scores({PROBLEM.prior.cot or "": 0.9})
    script, sandbox = programs_that_come_to(18)
    model = ScriptedModel(script)
    given = tools(model, sandbox, cot_model=ScriptedModel(cots))
    await refine(
        PROBLEM,
        tools=replace(given, critics={"generative": own}),
        strategy=BoNBoN(cots=2, programs=2),
        sampling=Sampling(),
        budget=Budget(),
        limits=Limits(),
    )
    assert PROBLEM.prior.cot in {p.problem.prior.cot for p in model.prompts}


async def test_prove_counts_only_cots_whose_program_agrees() -> None:
    cots = ["The answer is 9.", "The answer is 18.", "The answer is 9."]
    blank = Problem("What is 6 times 3?")
    result = await run(Prove(cots=3), [18, 18, 17], {}, problem=blank, cots=cots)
    assert (result.decision, result.answer) == ("answered", Answer("18"))
    assert (result.usage.cots, result.usage.programs) == (3, 3)
    assert result.winner is not None
    assert "1 of 3 CoTs hold" in result.trace[-1].detail


async def test_prove_verifies_the_requests_own_cot_where_no_model_writes_any() -> None:
    confirmed = await run(Prove(), [26], {})
    assert (confirmed.decision, confirmed.usage.programs) == ("confirmed", 1)
    kept = await run(Prove(), [18], {})
    assert (kept.decision, kept.answer, kept.winner) == ("kept", Answer("26"), None)
    assert kept.confidence < 0.5


async def test_iterate_shows_the_model_its_error_and_keeps_the_best_not_the_last() -> None:
    sandbox = FakeSandbox({"first": 18, "second": 18})
    model = ScriptedModel(["crash", "first", "second", "crash again"])
    result = await _iterated(model, sandbox, Iterate(revisions=3))
    assert (result.answer, result.usage.programs) == (Answer("18"), 4)
    assert result.winner is not None
    assert result.winner.text == "first"
    assert "crash\n# error: not in the script" in model.prompts[1].messages[-1].content
    assert "answer = 18" in model.prompts[2].messages[-1].content


@pytest.mark.parametrize(
    ("script", "why"),
    [
        (["a", "b", "a"], "the program repeats"),
        (["a", "DONE"], "the model is done"),
        (["a", ModelUnavailableError("down")], "a draw failed"),
    ],
)
async def test_iterate_stops_when_there_is_nothing_to_gain(
    script: list[str | Sample], why: str
) -> None:
    sandbox = FakeSandbox({"a": 18, "b": 17})
    result = await _iterated(ScriptedModel(script), sandbox, Iterate(revisions=9))
    assert result.usage.programs == len(script)
    assert any(step.detail == why for step in result.trace)
    assert result.answer is not None


async def _iterated(model: ScriptedModel, sandbox: FakeSandbox, strategy: Iterate) -> Refinement:
    return await refine(
        PROBLEM,
        tools=tools(model, sandbox),
        strategy=strategy,
        sampling=Sampling(),
        budget=Budget(),
        limits=Limits(),
    )


def _tells(tokens: Mapping[str, float]) -> Respond:
    """A chat completion that tells the log-probabilities of its first token."""
    top = [{"token": token, "logprob": logprob} for token, logprob in tokens.items()]
    choice = {
        "message": {"content": top[0]["token"]},
        "finish_reason": "length",
        "logprobs": {"content": [{**top[0], "top_logprobs": top}]},
    }
    usage = {"prompt_tokens": 7, "completion_tokens": 1}
    return answers("200 OK", json.dumps({"choices": [choice], "usage": usage}))


async def judged(respond: Respond, kind: str, candidate: Candidate = PROGRAM) -> Judgement:
    async with (
        upstream(respond) as server,
        model_client(connections=2, read_timeout_s=5) as client,
    ):
        model = VLLMModel(Upstream(client, url=server.url, name="m"))
        critics: dict[str, Critic] = {
            "generative": Generative(model, TRAINED),
            "likelihood": Likelihood(model, TRAINED),
            "contrastive": Contrastive(model, TRAINED),
            "reward_model": RewardModel(client, url=server.url, name="m"),
        }
        return await critics[kind].judge(PROBLEM, candidate)


@pytest.mark.parametrize(
    ("tokens", "score"),
    [
        ({"yes": math.log(0.6), "no": math.log(0.2)}, 0.75),
        ({" Yes": math.log(0.3), "YES": math.log(0.3), "No": math.log(0.2)}, 0.75),
        ({"是": math.log(0.2), "否": math.log(0.6)}, 0.25),
        ({"maybe": -0.1, "well": -2.0}, 0.5),
        ({"yes": 0.0, "no": -1e300}, 1.0),
    ],
)
async def test_the_generative_critic_weighs_yes_against_no(
    tokens: dict[str, float], score: float
) -> None:
    judgement = await judged(_tells(tokens), "generative")
    assert judgement.score == pytest.approx(score)
    assert judgement.usage.prompt_tokens == 7


async def test_an_upstream_without_logprobs_is_told_apart_from_one_that_is_down() -> None:
    for kind in ("generative", "likelihood", "contrastive"):
        with pytest.raises(LogprobsUnavailableError):
            await judged(completes("yes"), kind)
        with pytest.raises(CriticUnavailableError):
            await judged(refuses("500 Oops"), kind)


async def test_a_candidates_own_log_likelihood_is_not_asked_for_again() -> None:
    own = replace(PROGRAM, log_likelihood=math.log(0.5))
    judgement = await judged(refuses("500 Oops"), "likelihood", own)
    assert judgement.score == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("data", "score"),
    [
        (0.0, 0.5),
        ([2.0], 1 / (1 + math.exp(-2))),
        ([[0.3, 0.7], [0.1, 0.9]], 0.9),
        ([[-1.0], [3.0]], 1 / (1 + math.exp(-3))),
        (1e9, 1.0),
    ],
)
async def test_a_reward_is_a_score_from_0_to_1_whatever_its_shape(
    data: object, score: float
) -> None:
    body = json.dumps({"data": [{"data": data}], "usage": {"prompt_tokens": 9}})
    judgement = await judged(answers("200 OK", body), "reward_model")
    assert judgement.score == pytest.approx(score)
    assert judgement.usage.prompt_tokens == 9


@pytest.mark.parametrize(
    "respond",
    [
        answers("200 OK", "<html>"),
        answers("200 OK", '{"data": []}'),
        answers("200 OK", '{"data": [{"data": []}]}'),
        answers("200 OK", '{"data": [{"data": "good"}]}'),
        answers("200 OK", '{"data": [{"data": [NaN]}]}'),
        refuses("503 Service Unavailable"),
        breaks_off,
    ],
)
async def test_a_reward_model_that_gives_no_reward_is_down(respond: Respond) -> None:
    with pytest.raises(CriticUnavailableError):
        await judged(respond, "reward_model")


def test_every_format_asks_for_verdicts_and_revisions_in_the_language_of_the_question() -> None:
    chinese = Problem("六乘三是多少？", prior=Prior(cot="六乘三是26。"))
    for problem in (PROBLEM, chinese):
        for prompt_format in PROMPT_FORMATS.values():
            verdict = prompt_format.verdict_prompt(problem, candidate=PROGRAM)
            revision = prompt_format.revision_prompt(problem, program=PROGRAM)
            for prompt in (verdict, revision):
                text = "\n".join(message.content for message in prompt.messages)
                assert problem.question in text
                assert PROGRAM.text in text
                assert isinstance(prompt, Prompt)
    few_shot = PROMPT_FORMATS["few_shot"].verdict_prompt(chinese, candidate=PROGRAM)
    assert "结果正确吗" in few_shot.messages[-1].content
    assert isinstance(few_shot.messages[0], Message)

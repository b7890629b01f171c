"""The CaP model as a critic of its own programs and of anybody's CoTs.

It is asked whether a candidate is right, and the log-probabilities of its yes and its no are
weighed against each other. Source: CaP, arXiv 2412.16871 (outcome critic).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from cap_server.critics.asking import asking
from cap_server.domain import Candidate, Judgement, Problem
from cap_server.errors import LogprobsUnavailableError
from cap_server.ports import Scorer
from cap_server.prompts import PromptFormat

_YES = {"yes", "correct", "right", "true", "是", "对", "正确"}
_NO = {"no", "incorrect", "wrong", "false", "否", "不", "错", "错误"}


class Generative:
    """P(yes), normalised over yes and no. A model that says neither has no opinion: 0.5."""

    def __init__(self, scorer: Scorer, prompt_format: PromptFormat) -> None:
        self._scorer = scorer
        self._prompt_format = prompt_format

    async def judge(self, problem: Problem, candidate: Candidate) -> Judgement:
        prompt = self._prompt_format.verdict_prompt(problem, candidate=candidate)
        tokens, usage = await asking(self._scorer.first_token(prompt))
        return Judgement(_share_of_yes(tokens), usage)


def _share_of_yes(tokens: Mapping[str, float]) -> float:
    if len(tokens) < 2:
        raise LogprobsUnavailableError("The model's server tells only the token that it chose.")
    yes = sum(math.exp(value) for token, value in tokens.items() if _word(token) in _YES)
    no = sum(math.exp(value) for token, value in tokens.items() if _word(token) in _NO)
    return yes / (yes + no) if yes + no else 0.5


def _word(token: str) -> str:
    # Tokenisers mark the start of a word: a space, or the letters that stand for one.
    return token.strip().strip("Ġ▁.,!。").lower()

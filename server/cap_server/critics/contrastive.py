"""How much more likely a program is after worked examples than without them.

A program that good examples make likelier is more like them. Source: ICDPO, arXiv 2402.09320: the
log-probability with demonstrations minus the one without.
"""

from __future__ import annotations

import asyncio
import math

from cap_server.critics.asking import asking
from cap_server.domain import Candidate, Judgement, Problem
from cap_server.ports import Scorer
from cap_server.prompts import PromptFormat


class Contrastive:
    """The logistic function of the difference of mean token log-probabilities; 0.5: no difference.

    Needs an upstream that tells a prompt's log-probabilities, as vLLM does.
    """

    def __init__(self, scorer: Scorer, prompt_format: PromptFormat) -> None:
        self._scorer = scorer
        self._prompt_format = prompt_format

    async def judge(self, problem: Problem, candidate: Candidate) -> Judgement:
        shown = self._prompt_format.demonstrated_prompt(problem)
        bare = self._prompt_format.bare_prompt(problem)
        (likely, cost), (less, cost_of_bare) = await asyncio.gather(
            asking(self._scorer.log_likelihood(shown, candidate.text)),
            asking(self._scorer.log_likelihood(bare, candidate.text)),
        )
        return Judgement(1 / (1 + math.exp(less - likely)), cost + cost_of_bare)

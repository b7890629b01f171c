"""How likely the model finds the candidate: its mean token log-probability, as a probability."""

from __future__ import annotations

import math

from cap_server.critics.asking import asking
from cap_server.domain import Candidate, Judgement, Problem
from cap_server.ports import Scorer
from cap_server.prompts import PromptFormat, cot_prompt


class Likelihood:
    """The geometric mean of the tokens' probabilities.

    Candidates that were drawn here tell it themselves; a CoT that the request carries is put to
    the model as if it had written it.
    """

    def __init__(self, scorer: Scorer, prompt_format: PromptFormat) -> None:
        self._scorer = scorer
        self._prompt_format = prompt_format

    async def judge(self, problem: Problem, candidate: Candidate) -> Judgement:
        if candidate.log_likelihood is not None:
            return Judgement(math.exp(candidate.log_likelihood))
        bare = problem.without_prior()
        of_program = candidate.kind == "program"
        prompt = self._prompt_format.program_prompt(problem) if of_program else cot_prompt(bare)
        value, usage = await asking(self._scorer.log_likelihood(prompt, candidate.text))
        return Judgement(math.exp(value), usage)

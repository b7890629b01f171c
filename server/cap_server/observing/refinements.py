"""Every refinement that came to a decision: counted, and put on its request's account."""

from __future__ import annotations

import structlog

from cap_server.domain import Problem, Refinement
from cap_server.observing.account import current_account
from cap_server.observing.metrics import Metrics

_log = structlog.get_logger(__name__)


class Refinements:
    """What the refiner tells of each refinement.

    Args:
        metrics: where they are counted.
        log_content: whether the log may hold what users sent.
    """

    def __init__(self, metrics: Metrics, *, log_content: bool) -> None:
        self._metrics = metrics
        self._log_content = log_content

    def __call__(self, problem: Problem, strategy: str, refinement: Refinement) -> None:
        metrics, stopped_by = self._metrics, refinement.stopped_by or "nothing"
        metrics.refinements.labels(strategy, refinement.decision, stopped_by).inc()
        metrics.refinement_s.labels(strategy).observe(refinement.usage.wall_s)
        metrics.refinement_programs.labels(strategy).observe(refinement.usage.programs)
        account = current_account()
        account.strategy = strategy
        account.decisions[refinement.decision] += 1
        account.usage += refinement.usage
        if self._log_content:
            _log.info("refinement", **_content(problem, refinement))


def _content(problem: Problem, refinement: Refinement) -> dict[str, object]:
    winner = refinement.winner
    return {
        "question": problem.question,
        "source": problem.prior.source,
        "decision": refinement.decision,
        "original_answer": refinement.original_answer and refinement.original_answer.text,
        "answer": refinement.answer and refinement.answer.text,
        "program": winner and winner.text,
    }

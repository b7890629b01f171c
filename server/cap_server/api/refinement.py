"""A refinement as it is sent: the answer and its evidence."""

from __future__ import annotations

import time
import uuid
from dataclasses import replace
from typing import Literal

from pydantic import BaseModel, Field

from cap_server import domain
from cap_server.api.strategies import StrategyIn
from cap_server.api.terms import TermsIn
from cap_server.api.wire import ExecutionOut
from cap_server.domain import Answer, Candidate, Decision, Step, StoppedBy


class CandidateOut(BaseModel):
    kind: domain.Task
    index: int = Field(description="Its place among the draws of its kind.")
    text: str = Field(description="The CoT, or the program; empty when the model wrote none.")
    answer: str | None
    execution: ExecutionOut | None
    prompt_tokens: int
    completion_tokens: int
    log_likelihood: float | None = Field(
        description="Mean log-probability of its tokens, where a critic needed it."
    )
    score: float | None = Field(description="A critic's, 0 to 1, where one was asked.")

    @classmethod
    def of(cls, candidate: Candidate) -> CandidateOut:
        return cls(
            kind=candidate.kind,
            index=candidate.index,
            text=candidate.text,
            answer=candidate.answer.text if candidate.answer else None,
            execution=ExecutionOut.of(candidate.execution) if candidate.execution else None,
            prompt_tokens=candidate.prompt_tokens,
            completion_tokens=candidate.completion_tokens,
            log_likelihood=candidate.log_likelihood,
            score=candidate.score,
        )


class WeightOut(BaseModel):
    answer: str | None = Field(description="null: none of those that were given.")
    weight: float


class StepOut(BaseModel):
    event: Literal["vote", "posterior", "score", "cancelled", "decided"]
    programs: int = Field(description="How many programs had been weighed by then.")
    weights: list[WeightOut] = Field(description="Votes, probabilities or scores, by `event`.")
    detail: str

    @classmethod
    def of(cls, step: Step) -> StepOut:
        weights = [WeightOut(answer=answer, weight=weight) for answer, weight in step.weights]
        return cls(event=step.event, programs=step.programs, weights=weights, detail=step.detail)


class RefinementOut(BaseModel):
    id: str
    object: Literal["refinement"] = "refinement"
    created: int = Field(description="Seconds since 1970.")
    model: str = Field(description="The CaP model.")
    decision: Decision
    answer: str | None
    original_answer: str | None
    confidence: float = Field(ge=0, le=1, description="How far the programs support `answer`.")
    program: str | None = Field(description="A program that comes to `answer`; run it yourself.")
    execution: ExecutionOut | None = Field(description="What became of `program` here.")
    strategy: StrategyIn = Field(description="With all its parameters.")
    candidates: list[CandidateOut] | None = Field(description="Where `include` asks for them.")
    trace: list[StepOut] | None = Field(description="Where `include` asks for it.")
    warnings: list[str] = Field(description="What could not be done as the request asked.")
    usage: domain.Usage
    stopped_by: StoppedBy | None = Field(
        description="The limit that ended the refinement before its strategy was through."
    )

    @classmethod
    def of(
        cls, refinement: domain.Refinement, terms: TermsIn, *, model: str, id_: str
    ) -> RefinementOut:
        winner = refinement.winner
        ordered = sorted(refinement.candidates, key=lambda each: (each.kind, each.index))
        candidates = [CandidateOut.of(each) for each in ordered]
        trace = [StepOut.of(each) for each in refinement.trace]
        return cls(
            id=id_,
            created=int(time.time()),
            model=model,
            decision=refinement.decision,
            answer=_text(refinement.answer),
            original_answer=_text(refinement.original_answer),
            confidence=round(refinement.confidence, 4),
            program=winner.text if winner else None,
            execution=ExecutionOut.of(winner.execution) if winner and winner.execution else None,
            strategy=terms.strategy,
            candidates=candidates if "candidates" in terms.include else None,
            trace=trace if "trace" in terms.include else None,
            warnings=list(refinement.warnings),
            usage=_rounded(refinement.usage),
            stopped_by=refinement.stopped_by,
        )


def new_id() -> str:
    """An id for a refinement."""
    return f"ref_{uuid.uuid4().hex}"


def _rounded(usage: domain.Usage) -> domain.Usage:
    """Microseconds are what the clocks are good for."""
    seconds = {name: round(getattr(usage, name), 6) for name in ("model_s", "sandbox_s", "wall_s")}
    return replace(usage, **seconds)


def _text(answer: Answer | None) -> str | None:
    return answer.text if answer else None

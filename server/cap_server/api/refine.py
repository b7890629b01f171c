"""`POST /v1/refine`: a question and an answer in, the refinement out."""

from __future__ import annotations

import time
import uuid
from dataclasses import replace
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, Field, field_validator

from cap_server import domain
from cap_server.api.errors import POSTING, documented
from cap_server.api.gone import unless_gone
from cap_server.api.house import InHouse, Tenant, authorized
from cap_server.api.strategies import StrategyIn, default_strategy
from cap_server.api.wire import ExecutionOut, LimitsIn, Text
from cap_server.api.wire import Request as WireRequest
from cap_server.domain import Answer, Candidate, Decision, Prior, Problem, Step, StoppedBy
from cap_server.refiner import refine
from cap_server.whole import ALSO_AS_FLOAT

router = APIRouter(prefix="/v1", tags=["refine"], dependencies=[Depends(authorized)])


class SamplingIn(WireRequest):
    """How texts are drawn."""

    temperature: float | None = Field(
        None,
        ge=0,
        le=2,
        allow_inf_nan=False,
        description="Unset: 0 for a single draw, 0.7 for several.",
    )
    top_p: float = Field(0.95, gt=0, le=1, allow_inf_nan=False)
    max_tokens: Annotated[int, Field(ge=1, le=32_768), ALSO_AS_FLOAT] | None = Field(
        None, description="Of each draw, at most. Unset: the server's default."
    )
    seed: Annotated[int, Field(ge=0, le=2**53 - 1), ALSO_AS_FLOAT] | None = Field(
        None, description="A request that names one repeats exactly."
    )


class BudgetIn(WireRequest):
    """What the request may spend. When it is spent the best answer so far is returned."""

    programs: Annotated[int, Field(ge=1, le=1024), ALSO_AS_FLOAT] | None = Field(
        None, description="Programs drawn."
    )
    tokens: Annotated[int, Field(ge=1, le=2**31), ALSO_AS_FLOAT] | None = Field(
        None, description="Completion tokens over all draws."
    )
    deadline_s: float = Field(60.0, ge=0.01, le=600, allow_inf_nan=False, description="Seconds.")


class RefineIn(WireRequest):
    question: Text
    cot: Text | None = Field(None, description="The chain of thought to refine.")
    answer: Text | None = Field(
        None, description="The answer to refine. Unset: what the CoT comes to."
    )
    choices: list[Text] | None = Field(
        None,
        min_length=2,
        max_length=26,
        description="The question's options in order; the answer is then a letter, A the first.",
    )
    source: (
        Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")] | None
    ) = Field(None, description="The name of the model that wrote the CoT; no control characters.")
    strategy: StrategyIn = Field(default_factory=default_strategy)
    sampling: SamplingIn = Field(default_factory=SamplingIn)
    budget: BudgetIn = Field(default_factory=BudgetIn)
    limits: LimitsIn = Field(default_factory=LimitsIn)
    include: list[Literal["candidates", "trace"]] = Field(
        default_factory=list,
        max_length=8,
        description="What to return beyond the answer: every draw; how the choice came about.",
    )
    stream: bool = Field(
        False,
        description="Not offered yet: leave it out or send false.",
        json_schema_extra={"const": False},
    )

    @field_validator("stream")
    @classmethod
    def _not_yet(cls, value: bool) -> bool:
        if value:
            raise ValueError("streaming is not offered yet; leave it out or send false")
        return value

    def problem(self) -> Problem:
        answer = None if self.answer is None else Answer(self.answer)
        prior = Prior(cot=self.cot, answer=answer, source=self.source)
        return Problem(self.question, tuple(self.choices or ()), prior)


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


@router.post("/refine", responses=documented(*POSTING, 502, 503, 504))
async def refine_(
    body: RefineIn, house: InHouse, tenant: Tenant, request: Request
) -> RefinementOut:
    """Refine the answer to a question by programs that work it out."""
    budget = domain.Budget(**body.budget.model_dump())
    refinement = await unless_gone(
        request,
        refine(
            body.problem(),
            tools=house.tools,
            strategy=body.strategy,
            sampling=domain.Sampling(**body.sampling.model_dump()),
            budget=budget,
            limits=body.limits.to_domain(),
            trust=house.ledger.estimates(tenant),
        ),
    )
    if refinement.pattern is not None:
        house.ledger.record(tenant, refinement.pattern)
    return _refinement(refinement, body, model=house.tools.model.name)


def _refinement(refinement: domain.Refinement, body: RefineIn, *, model: str) -> RefinementOut:
    winner = refinement.winner
    ordered = sorted(refinement.candidates, key=lambda each: (each.kind, each.index))
    return RefinementOut(
        id=f"ref_{uuid.uuid4().hex}",
        created=int(time.time()),
        model=model,
        decision=refinement.decision,
        answer=_text(refinement.answer),
        original_answer=_text(refinement.original_answer),
        confidence=round(refinement.confidence, 4),
        program=winner.text if winner else None,
        execution=ExecutionOut.of(winner.execution) if winner and winner.execution else None,
        strategy=body.strategy,
        candidates=[CandidateOut.of(each) for each in ordered]
        if "candidates" in body.include
        else None,
        trace=[StepOut.of(each) for each in refinement.trace] if "trace" in body.include else None,
        warnings=list(refinement.warnings),
        usage=_rounded(refinement.usage),
        stopped_by=refinement.stopped_by,
    )


def _rounded(usage: domain.Usage) -> domain.Usage:
    """Microseconds are what the clocks are good for."""
    seconds = {name: round(getattr(usage, name), 6) for name in ("model_s", "sandbox_s", "wall_s")}
    return replace(usage, **seconds)


def _text(answer: Answer | None) -> str | None:
    return answer.text if answer else None

"""On which terms a refinement is made: what every route that refines lets a request say."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal

from pydantic import Field

from cap_server import domain
from cap_server.admission import cost_of
from cap_server.api.house import House
from cap_server.api.strategies import StrategyIn, default_strategy
from cap_server.api.wire import LimitsIn, Text
from cap_server.api.wire import Request as WireRequest
from cap_server.domain import Problem
from cap_server.events import Tell, nobody
from cap_server.refiner import refine
from cap_server.whole import ALSO_AS_FLOAT

_SOON_S = 0.01

Choices = Annotated[
    list[Text],
    Field(
        min_length=2,
        max_length=26,
        description="The question's options in order; the answer is then a letter, A the first.",
    ),
]
Source = Annotated[
    str,
    Field(
        min_length=1,
        max_length=200,
        pattern=r"^[^\x00-\x1f\x7f]*$",
        description="The name of the model that wrote the CoT; no control characters.",
    ),
]


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


class TermsIn(WireRequest):
    strategy: StrategyIn = Field(default_factory=default_strategy)
    sampling: SamplingIn = Field(default_factory=SamplingIn)
    budget: BudgetIn = Field(default_factory=BudgetIn)
    limits: LimitsIn = Field(default_factory=LimitsIn)
    include: list[Literal["candidates", "trace"]] = Field(
        default_factory=list,
        max_length=8,
        description="What to return beyond the answer: every draw; how the choice came about.",
    )


async def refined(
    problem: Problem,
    terms: TermsIn,
    *,
    house: House,
    tenant: str,
    tell: Tell = nobody,
    patient: bool = False,
) -> domain.Refinement:
    """Refine `problem` on `terms`; what it teaches about its source is kept for `tenant`.

    Args:
        problem: as the caller has it.
        terms: its deadline counts from here.
        house: whose tools are used.
        tenant: among whom the server is shared.
        tell: is told what happens.
        patient: wait for a place as long as it takes, and have the deadline count from then.

    Raises:
        OverloadedError: there is no place in time.
        CapError: see `refine`.
    """
    budget = domain.Budget(**terms.budget.model_dump())
    cost = cost_of(terms.strategy, budget)
    place = house.admission.place(tenant, cost=cost, within_s=budget.deadline_s, patient=patient)
    async with place as waited_s:
        if waited_s and not patient:
            budget = replace(budget, deadline_s=max(_SOON_S, budget.deadline_s - waited_s))
        refinement = await refine(
            problem,
            tools=house.tools,
            strategy=terms.strategy,
            sampling=domain.Sampling(**terms.sampling.model_dump()),
            budget=budget,
            limits=terms.limits.to_domain(),
            trust=house.ledger.estimates(tenant),
            tell=tell,
        )
        house.admission.learn(refinement.usage)
    if refinement.pattern is not None:
        house.ledger.record(tenant, refinement.pattern)
    return refinement

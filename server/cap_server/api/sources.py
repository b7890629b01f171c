"""`GET /v1/sources`: what was learned of the models that write CoTs, and of the CaP model."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel, Field

from cap_server.api.errors import READING, documented
from cap_server.api.house import InHouse, Tenant
from cap_server.trust import Estimates

router = APIRouter(prefix="/v1", tags=["sources"])


class SourceOut(BaseModel):
    source: str | None = Field(description="null: CoTs whose source the requests did not name.")
    accuracy: float = Field(ge=0, le=1, description="The share of its answers that are right.")
    low: float = Field(ge=0, le=1, description="The lower end of a 95 % interval.")
    high: float = Field(ge=0, le=1, description="The upper end.")
    requests: int = Field(description="How many recent requests it stands on.")


class ModelTrustOut(BaseModel):
    concentration: float = Field(
        gt=0, description="How much its answers to one question differ; 0.5: two of three agree."
    )
    reliability: float = Field(
        ge=0, le=1, description="How often the right answer is within its reach."
    )


class SourcesOut(BaseModel):
    object: str = "list"
    data: list[SourceOut]
    model: ModelTrustOut
    stored: bool = Field(description="Whether what was learned is kept across restarts.")


@router.get("/sources", responses=documented(*READING))
async def sources(house: InHouse, tenant: Tenant) -> SourcesOut:
    """How good each source of CoTs proved to be, estimated from agreement with programs."""
    estimates = house.ledger.estimates(tenant)
    model = ModelTrustOut(
        concentration=round(estimates.concentration, 4), reliability=round(estimates.reliability, 4)
    )
    return SourcesOut(data=_sources(estimates), model=model, stored=house.ledger.stored)


def _sources(estimates: Estimates) -> list[SourceOut]:
    return [
        SourceOut(
            source=name,
            accuracy=round(each.accuracy, 4),
            low=round(each.low, 4),
            high=round(each.high, 4),
            requests=each.requests,
        )
        for name, each in sorted(estimates.sources.items(), key=lambda item: -item[1].requests)
    ]

"""`GET /v1/strategies`, and how a request names its strategy."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends
from pydantic import BaseModel, BeforeValidator, Field, TypeAdapter

from cap_server.api.errors import READING, documented
from cap_server.api.house import authorized
from cap_server.strategies import DEFAULT, STRATEGIES, StrategyParameters

router = APIRouter(prefix="/v1", tags=["strategies"], dependencies=[Depends(authorized)])


def _with_name(value: object) -> object:
    """A bare name stands for the strategy with its defaults; a name must be one there is."""
    if isinstance(value, str):
        value = {"name": value}
    if isinstance(value, dict) and value.get("name") not in list(STRATEGIES):
        raise ValueError(f"the name must be one of {', '.join(STRATEGIES)}")
    return value


_Name = Annotated[str, Field(json_schema_extra={"enum": list(STRATEGIES)})]

StrategyIn = Annotated[
    StrategyParameters,
    BeforeValidator(_with_name, json_schema_input_type=_Name | StrategyParameters),
]


def default_strategy() -> StrategyParameters:
    return DEFAULT


class StrategyOut(BaseModel):
    name: str
    summary: str
    when: str = Field(description="When to use it.")
    source: str = Field(description="The paper it comes from.")
    parameters: dict[str, Any] = Field(
        description="By name: type, default, range, what it means (JSON Schema)."
    )


class StrategiesOut(BaseModel):
    object: str = "list"
    default: str
    data: list[StrategyOut]


@router.get("/strategies", responses=documented(*READING))
async def strategies() -> StrategiesOut:
    """What strategies there are, with their parameters."""
    return StrategiesOut(default=DEFAULT.name, data=[_strategy(name) for name in STRATEGIES])


def _strategy(name: str) -> StrategyOut:
    cls = STRATEGIES[name]
    properties = TypeAdapter(cls).json_schema()["properties"]
    return StrategyOut(
        name=name,
        summary=cls.summary,
        when=cls.when,
        source=cls.source,
        parameters={key: schema for key, schema in properties.items() if key != "name"},
    )

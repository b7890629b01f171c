"""What operators and their machines ask: is it alive, is it ready."""

from __future__ import annotations

import asyncio
from typing import Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from cap_server.api.house import House, InHouse
from cap_server.domain import CircuitState
from cap_server.errors import CapError
from cap_server.ports import Model

router = APIRouter(tags=["operations"])

_LONGEST_CHECK_S = 5.0


class HealthOut(BaseModel):
    status: Literal["alive"] = "alive"


class CheckOut(BaseModel):
    ready: bool
    detail: str = Field(description="Why it is not ready, or what it is.")


class ReplicaOut(BaseModel):
    role: str = Field(description="`cap` writes programs, `cot` writes CoTs.")
    number: int = Field(description="Its place among the URLs, from 0.")
    circuit: CircuitState = Field(
        description="`open`: it failed again and again and is asked nothing for now; `half_open`: "
        "one request may try."
    )
    under_way: int


class ReadyOut(BaseModel):
    ready: bool
    checks: dict[str, CheckOut]
    replicas: list[ReplicaOut] = Field([], description="The servers of the models.")


@router.get("/health")
async def health() -> HealthOut:
    """Whether the server is alive; it asks nobody else."""
    return HealthOut()


@router.get("/ready", responses={503: {"model": ReadyOut}})
async def ready(house: InHouse, response: Response) -> ReadyOut:
    """Whether a refinement would work now: the model answers, the sandbox runs a program.

    A server that was told to end says so, while it still takes requests.
    """
    if house.ending.announced:
        response.status_code = 503
        ends = CheckOut(ready=False, detail="The server ends.")
        return ReadyOut(ready=False, checks={"server": ends}, replicas=[])
    checks = dict(zip(_parts(house), await _checks(house), strict=True))
    all_ready = all(check.ready for check in checks.values())
    response.status_code = 200 if all_ready else 503
    return ReadyOut(ready=all_ready, checks=checks, replicas=_replicas(house))


def _replicas(house: House) -> list[ReplicaOut]:
    return [
        ReplicaOut(role=role, number=each.number, circuit=each.circuit, under_way=each.under_way)
        for role, figures in house.tools.replicas.items()
        for each in figures()
    ]


def _parts(house: House) -> list[str]:
    return ["model", "sandbox", *(["cot_model"] if house.tools.cot_model else [])]


async def _checks(house: House) -> list[CheckOut]:
    tools = house.tools
    checks = [_model_check(tools.model), _sandbox_check(house)]
    if tools.cot_model:
        checks.append(_model_check(tools.cot_model))
    return await asyncio.gather(*checks)


async def _model_check(model: Model) -> CheckOut:
    try:
        async with asyncio.timeout(_LONGEST_CHECK_S):
            await model.check()
    except TimeoutError:
        return CheckOut(ready=False, detail="The model is slow.")
    except CapError as error:
        return CheckOut(ready=False, detail=error.message)
    return CheckOut(ready=True, detail=model.name)


async def _sandbox_check(house: House) -> CheckOut:
    try:
        async with asyncio.timeout(_LONGEST_CHECK_S):
            tier = await house.tools.sandbox.check()
    except TimeoutError:
        return CheckOut(ready=False, detail="The sandbox is slow.")
    except CapError as error:
        return CheckOut(ready=False, detail=error.message)
    return CheckOut(ready=True, detail=tier)

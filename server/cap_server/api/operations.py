"""What operators and their machines ask: is it alive, is it ready, which models does it use."""

from __future__ import annotations

import asyncio
from typing import Literal

from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel, Field

from cap_server.api.errors import READING, documented
from cap_server.api.house import House, InHouse, authorized
from cap_server.errors import CapError
from cap_server.ports import Model

router = APIRouter(tags=["operations"])

_LONGEST_CHECK_S = 5.0


class HealthOut(BaseModel):
    status: Literal["alive"] = "alive"


class CheckOut(BaseModel):
    ready: bool
    detail: str = Field(description="Why it is not ready, or what it is.")


class ReadyOut(BaseModel):
    ready: bool
    checks: dict[str, CheckOut]


class ModelOut(BaseModel):
    id: str
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: str = "cap"
    role: Literal["cap", "cot"] = Field(description="Writes programs, or CoTs.")


class ModelsOut(BaseModel):
    object: Literal["list"] = "list"
    data: list[ModelOut]


@router.get("/health")
async def health() -> HealthOut:
    """Whether the server is alive; it asks nobody else."""
    return HealthOut()


@router.get("/ready", responses={503: {"model": ReadyOut}})
async def ready(house: InHouse, response: Response) -> ReadyOut:
    """Whether a refinement would work now: the model answers, the sandbox runs a program."""
    checks = dict(zip(_parts(house), await _checks(house), strict=True))
    all_ready = all(check.ready for check in checks.values())
    response.status_code = 200 if all_ready else 503
    return ReadyOut(ready=all_ready, checks=checks)


@router.get("/v1/models", dependencies=[Depends(authorized)], responses=documented(*READING))
async def models(house: InHouse) -> ModelsOut:
    """The models that this server works with, as their servers name them."""
    cap = ModelOut(id=house.tools.model.name, role="cap")
    cot = house.tools.cot_model
    return ModelsOut(data=[cap, ModelOut(id=cot.name, role="cot")] if cot else [cap])


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

"""`GET /v1/models`: the names that a chat completion may ask for."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field

from cap_server.api.chat_terms import CAP, cap_models
from cap_server.api.errors import READING, documented
from cap_server.api.house import House, InHouse, authorized
from cap_server.errors import ModelNotFoundError

router = APIRouter(prefix="/v1", tags=["chat"], dependencies=[Depends(authorized)])


class ModelOut(BaseModel):
    id: str
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: str
    role: Literal["refines", "cap", "cot"] = Field(
        description="`refines`: this server, by the strategy in its name or the default. The "
        "upstream's own, unrefined: `cap`, which writes programs, and `cot`, which writes CoTs."
    )


class ModelsOut(BaseModel):
    object: Literal["list"] = "list"
    data: list[ModelOut]


@router.get("/models", responses=documented(*READING))
async def models(house: InHouse) -> ModelsOut:
    """The models that can be asked: those that refine, and the upstream's own."""
    return ModelsOut(data=_models(house))


@router.get("/models/{id:path}", responses=documented(*READING, 404))
async def model(id: str, house: InHouse) -> ModelOut:
    """One of them."""
    for each in _models(house):
        if each.id == id:
            return each
    raise ModelNotFoundError("There is no such model; GET /v1/models lists them.", param="model")


def _models(house: House) -> list[ModelOut]:
    tools = house.tools
    ours = [ModelOut(id=name, owned_by=CAP, role="refines") for name in cap_models()]
    cap = ModelOut(id=tools.model.name, owned_by="upstream", role="cap")
    cot = tools.cot_model
    written = [ModelOut(id=cot.name, owned_by="upstream", role="cot")] if cot else []
    return [*ours, cap, *written]

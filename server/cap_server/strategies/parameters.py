"""Parameters that several strategies share, each with its range and what it means."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from cap_server.domain import CriticName
from cap_server.whole import ALSO_AS_FLOAT


def _name_is_required(schema: dict[str, Any]) -> None:
    schema["required"] = ["name"]


CONFIG = ConfigDict(extra="forbid", json_schema_extra=_name_is_required)
"""Of every strategy. Its name tells which one an object is, so a request cannot leave it out."""

Programs = Annotated[
    int, Field(strict=True, ge=1, le=64, description="How many programs to draw."), ALSO_AS_FLOAT
]

MaxPrograms = Annotated[
    int,
    Field(strict=True, ge=1, le=64, description="How many programs to draw at most."),
    ALSO_AS_FLOAT,
]

CoTs = Annotated[
    int,
    Field(
        strict=True,
        ge=1,
        le=64,
        description="How many CoTs to draw, where this server has a model that writes them. A CoT "
        "that the request carries competes with them.",
    ),
    ALSO_AS_FLOAT,
]

Overrule = Annotated[
    float,
    Field(
        strict=True,
        ge=0,
        lt=1,
        allow_inf_nan=False,
        description=(
            "More than this share of all programs drawn must agree on one answer before it "
            "overrules the prior. 0: the most common answer wins, as in plain self-consistency; "
            "a tie keeps the prior."
        ),
    ),
]

Critic = Annotated[CriticName, Field(description="Who scores the candidates.")]

CoTCritic = Annotated[
    Literal["generative", "reward_model", "likelihood"],
    Field(description="Who scores the candidates; CoTs have no contrastive score."),
]

Weights = Annotated[
    CriticName | None,
    Field(description="A critic by whose scores votes are weighed. null: each counts as one."),
]

CriticRequired = Annotated[
    bool,
    Field(
        strict=True,
        description="Fail with status 503 when the critic cannot be asked, instead of voting.",
    ),
]

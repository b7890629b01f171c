"""Parameters that several strategies share, each with its range and what it means."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from cap_server.whole import ALSO_AS_FLOAT

Programs = Annotated[
    int, Field(strict=True, ge=1, le=64, description="How many programs to draw."), ALSO_AS_FLOAT
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

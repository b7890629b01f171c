"""What a model's server tells of its tokens; no more than that, and it need not be true."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel

_MOST = 2**31
"""Beyond any context; sums of many stay numbers that every reader of JSON can hold."""


def _possible(tokens: int) -> int:
    return min(max(tokens, 0), _MOST)


Tokens = Annotated[int, AfterValidator(_possible)]


class ToldUsage(BaseModel):
    """What cannot be is counted as the nearest that can: counters never go back."""

    prompt_tokens: Tokens = 0
    completion_tokens: Tokens = 0

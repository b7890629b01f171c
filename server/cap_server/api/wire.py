"""Wire models that several routes share."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from cap_sandbox import ValueType
from cap_server.domain import Execution, Limits, Status, Value
from cap_server.whole import ALSO_AS_FLOAT

Text = Annotated[
    str, StringConstraints(min_length=1, max_length=32_768, pattern=r"[^\s\u0085\ufeff]")
]
"""Some text that is not blank, up to 32,768 characters. Whether the two that are named are blank is
what our regular expressions and those of JSON Schema do not agree on."""


class Request(BaseModel):
    """Requests refuse what they do not know: a misspelt field must not be silently ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class LimitsIn(Request):
    """What one program may use."""

    wall_s: float = Field(3.0, ge=0.05, le=60, allow_inf_nan=False, description="Seconds.")
    memory_bytes: Annotated[int, Field(ge=64 * 1024**2, le=4 * 1024**3), ALSO_AS_FLOAT] = Field(
        512 * 1024**2, description="Address space, in bytes."
    )

    def to_domain(self) -> Limits:
        return Limits(wall_s=self.wall_s, memory_bytes=self.memory_bytes)


def _absent(value: object) -> bool:
    return value is None


class ValueOut(BaseModel):
    """A program's answer, typed and exact. Fields that its type does not have are left out."""

    type: ValueType
    text: str = Field(description="The value as Python or sympy writes it.")
    latex: str | None = Field(None, exclude_if=_absent, description="Of an `expression`.")
    items: list[ValueOut] | None = Field(None, exclude_if=_absent, description="Of a `list`.")
    entries: list[tuple[ValueOut, ValueOut]] | None = Field(
        None, exclude_if=_absent, description="Of a `dict`."
    )

    @classmethod
    def of(cls, value: Value) -> ValueOut:
        return cls(
            type=value.type,
            text=value.text,
            latex=value.latex,
            items=None if value.items is None else [cls.of(item) for item in value.items],
            entries=None
            if value.entries is None
            else [(cls.of(key), cls.of(item)) for key, item in value.entries],
        )


class ExecutionOut(BaseModel):
    """What became of one program."""

    status: Status
    value: ValueOut | None = Field(description="The program's answer, where it left one.")
    stdout: str
    stderr: str = Field(description="Why it did not end `ok`.")
    wall_s: float
    cpu_s: float
    peak_memory_bytes: int

    @classmethod
    def of(cls, execution: Execution) -> ExecutionOut:
        return cls(
            status=execution.status,
            value=ValueOut.of(execution.value) if execution.value else None,
            stdout=execution.stdout,
            stderr=execution.stderr,
            wall_s=round(execution.wall_s, 6),
            cpu_s=round(execution.cpu_s, 6),
            peak_memory_bytes=execution.peak_memory_bytes,
        )

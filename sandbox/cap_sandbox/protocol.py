"""What goes into the sandbox and what comes out: limits, executions and typed values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "error", "timeout", "memory", "killed", "rejected"]
"""How a program ended.

`ok`: it ran to its end. `error`: it raised. `timeout`: it was stopped at `Limits.wall_s`.
`memory`: it needed more than `Limits.memory_bytes`. `killed`: the kernel or the sandbox stopped it
for something that programs may not do. `rejected`: the policy refused it, nothing ran.
"""

ValueType = Literal[
    "int", "float", "fraction", "decimal", "complex", "expression",
    "bool", "text", "list", "dict", "date", "none",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Limits:
    """What one program may use.

    Attributes:
        wall_s: seconds from the program's first instruction, 0.05 to 60.
        memory_bytes: address space that the program may add, 64 MiB to 4 GiB.
        output_bytes: how much of stdout, and of stderr, is kept, 0 to 1 MiB.
    """

    wall_s: float = 3.0
    memory_bytes: int = 512 * 1024**2
    output_bytes: int = 16 * 1024


@dataclass(frozen=True, slots=True)
class Value:
    """A program's answer: its type and its exact text.

    Attributes:
        type: what the program left; `expression` is any other sympy object.
        text: the value as Python or sympy writes it, exact (`"1/3"`, `"sqrt(2)"`).
        latex: sympy's LaTeX for an `expression`, else None.
        items: the members of a `list` (tuples, sets, arrays too), else None.
        entries: the pairs of a `dict`, else None.
    """

    type: ValueType
    text: str
    latex: str | None = None
    items: tuple[Value, ...] | None = None
    entries: tuple[tuple[Value, Value], ...] | None = None


@dataclass(frozen=True, slots=True)
class Execution:
    """What became of one program. Whatever it did wrong is told here, never raised.

    Attributes:
        value: the program's answer; None when it left none, or did not end `ok`.
        stdout: what it printed, cut at `Limits.output_bytes` with a mark where it was cut.
        stderr: why it did not end `ok`: a traceback of its own lines, or the policy's reasons.
        wall_s: seconds on the parent's clock.
        cpu_s: seconds of processor time, user and system.
        peak_memory_bytes: the largest resident size.
    """

    status: Status
    value: Value | None = None
    stdout: str = ""
    stderr: str = ""
    wall_s: float = 0.0
    cpu_s: float = 0.0
    peak_memory_bytes: int = 0

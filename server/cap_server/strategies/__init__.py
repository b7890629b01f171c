"""The strategies: how candidates are drawn, and how one answer is chosen among them.

A strategy is a frozen dataclass whose fields are its parameters, with one coroutine. To add one,
write its file and name it in `STRATEGIES` and `StrategyParameters`: the API, its documentation and
the command line follow.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Protocol, get_args

from pydantic import Field

from cap_server.domain import Choice, Problem
from cap_server.strategies.adaptive import Adaptive
from cap_server.strategies.agreement import Agreement
from cap_server.strategies.best_of_n import BestOfN
from cap_server.strategies.bonbon import BoNBoN
from cap_server.strategies.iterate import Iterate
from cap_server.strategies.majority import Majority
from cap_server.strategies.pot import Pot
from cap_server.strategies.prove import Prove
from cap_server.strategies.single import Single
from cap_server.workbench import Workbench

__all__ = [
    "DEFAULT",
    "STRATEGIES",
    "Adaptive",
    "Agreement",
    "BestOfN",
    "BoNBoN",
    "Iterate",
    "Majority",
    "Pot",
    "Prove",
    "Single",
    "Strategy",
    "StrategyParameters",
]


class Strategy(Protocol):
    """How one request's samples are spent.

    Attributes:
        source: the paper it comes from.
        summary: what it draws and how it chooses, in a sentence.
        when: when to use it, in a sentence.
    """

    source: ClassVar[str]
    summary: ClassVar[str]
    when: ClassVar[str]

    @property
    def name(self) -> str: ...

    async def refine(self, problem: Problem, bench: Workbench) -> Choice:
        """Spend draws of `bench` on `problem` and choose.

        A limit of the request ends draws early; the choice is then made from what there is.

        Raises:
            CapError: a critic that is required, or the sandbox, failed; not a program.
        """
        ...


_AnyStrategy = Adaptive | Single | Pot | BestOfN | BoNBoN | Majority | Agreement | Prove | Iterate

STRATEGIES: dict[str, type[_AnyStrategy]] = {
    cls.__dataclass_fields__["name"].default: cls for cls in get_args(_AnyStrategy)
}

StrategyParameters = Annotated[_AnyStrategy, Field(discriminator="name")]

DEFAULT = Adaptive()

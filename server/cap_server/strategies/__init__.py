"""The strategies: how candidates are drawn, and how one answer is chosen among them.

A strategy is a frozen dataclass whose fields are its parameters, with one coroutine. To add one,
write its file and name it in `STRATEGIES`: the API, its documentation and the command line follow.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Protocol

from pydantic import Field

from cap_server.domain import Choice, Problem
from cap_server.strategies.majority import Majority
from cap_server.strategies.pot import Pot
from cap_server.strategies.single import Single
from cap_server.workbench import Workbench

__all__ = ["DEFAULT", "STRATEGIES", "Majority", "Pot", "Single", "Strategy", "StrategyParameters"]


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

        A limit of the request ends waves early; the choice is then made from what there is.

        Raises:
            CapError: a model or the sandbox failed, not a program.
        """
        ...


STRATEGIES: dict[str, type[Single] | type[Pot] | type[Majority]] = {
    "single": Single,
    "pot": Pot,
    "majority": Majority,
}

StrategyParameters = Annotated[Single | Pot | Majority, Field(discriminator="name")]

DEFAULT = Majority()

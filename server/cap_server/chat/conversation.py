"""A conversation as a problem: its last question, in the light of what was said before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Role = Literal["system", "developer", "user", "assistant"]

_SPEAKERS = {"user": "User", "assistant": "Assistant"}


@dataclass(frozen=True, slots=True)
class Turn:
    role: Role
    text: str


@dataclass(frozen=True, slots=True)
class Conversation:
    """Attributes:
    turns: at least one of the user's; the last is the user's, or the assistant's answer to it.
    """

    turns: Sequence[Turn]

    @property
    def cot(self) -> str | None:
        """The answer that is there already; None where one has to be drawn."""
        last = self.turns[-1]
        return last.text if last.role == "assistant" else None

    @property
    def question(self) -> str:
        """What the user asks last, after the turns before it where there are any.

        System prompts are for the model that answers; they are no part of the problem.
        """
        spoken = [turn for turn in self.turns if turn.role in _SPEAKERS]
        if self.cot is not None:
            spoken.pop()
        if len(spoken) == 1:
            return spoken[0].text
        return "\n\n".join(f"{_SPEAKERS[turn.role]}: {turn.text}" for turn in spoken)

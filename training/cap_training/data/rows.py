"""Training rows, in the words in which the server asks (`cap_server.prompts.trained`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cap_server.domain import Prior, Problem
from cap_server.prompts.trained import Trained

_FORMAT = Trained()


@dataclass(frozen=True, slots=True)
class Row:
    """What is asked, what should come back, and where both are from.

    Attributes:
        user: the one message of the prompt.
        completion: the program and the verdict, or the critic's `yes` or `no`.
        cot_right: None where there is no CoT.
        kind: `program`; `critic`: whether a CoT is right is asked; `nonsense`: the question's words
            say nothing, so that nobody should be measured on it.
        id: of the question; twins of a question share `source`.
    """

    user: str
    completion: str
    question: str
    answer: str
    cot: str | None = None
    cot_right: bool | None = None
    kind: str = "program"
    origin: str = ""
    language: str = "en"
    family: str = ""
    wording: str = ""
    split: str = "train"
    id: str = ""
    source: str = ""

    def columns(self) -> dict[str, Any]:
        """The row in TRL's prompt–completion form, with its other facts beside it."""
        facts = {name: getattr(self, name) for name in self.__slots__}
        del facts["user"]
        return facts | {
            "prompt": [{"role": "user", "content": self.user}],
            "completion": [{"role": "assistant", "content": self.completion}],
        }


def ask(question: str, cot: str | None) -> str:
    """The user's message for a question and its CoT."""
    prompt = _FORMAT.program_prompt(Problem(question, prior=Prior(cot=cot)))
    return prompt.messages[0].content


def ask_critic(question: str, solution: str) -> str:
    """The user's message that asks whether a CoT or program is right."""
    return f"{ask(question, solution)}\nCorrect?"


def reply(program: str, cot_right: bool | None) -> str:
    """A program, and the verdict on the CoT if there was one."""
    if cot_right is None:
        return program
    return f"{program}\n# prior: {'right' if cot_right else 'wrong'}"


def preference(prompt: str, chosen: str, rejected: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    """A row in TRL's preference form."""
    return dict(facts) | {
        "prompt": [{"role": "user", "content": prompt}],
        "chosen": [{"role": "assistant", "content": chosen}],
        "rejected": [{"role": "assistant", "content": rejected}],
    }


def unpaired(
    prompt: str, completion: str, *, label: bool, facts: Mapping[str, Any]
) -> dict[str, Any]:
    """A row in TRL's unpaired preference form: `label` says whether the completion is wanted."""
    return dict(facts) | {
        "prompt": [{"role": "user", "content": prompt}],
        "completion": [{"role": "assistant", "content": completion}],
        "label": label,
    }

"""What every request works with; `app.py` fills it in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from cap_server.domain import CriticName, Problem, Refinement, ReplicaFigures
from cap_server.ports import ChatModel, Critic, Equality, Model, Sandbox
from cap_server.prompts import PromptFormat

Refined = Callable[[Problem, str, Refinement], None]


def _nobody(problem: Problem, strategy: str, refinement: Refinement) -> None:
    """Nobody wants to know."""


@dataclass(frozen=True, slots=True)
class Tools:
    """Attributes:
    cot_model: None where CoTs are not written here.
    critics: those that this server has, by name.
    max_tokens: the ceiling of a draw whose request names none.
    chat_models: the models that clients may talk to through this server, by name.
    chat_writer: the one of them that answers before `cap` refines; None where none does.
    replicas: by role (`cap`, `cot`), the servers of its model and how they fare now.
    refined: told of every refinement that came to a decision: its problem, its strategy's name.
    """

    model: Model
    prompt_format: PromptFormat
    sandbox: Sandbox
    equality: Equality
    cot_model: Model | None = None
    critics: Mapping[CriticName, Critic] = field(default_factory=dict)
    max_tokens: int = 512
    chat_models: Mapping[str, ChatModel] = field(default_factory=dict)
    chat_writer: ChatModel | None = None
    replicas: Mapping[str, Callable[[], Sequence[ReplicaFigures]]] = field(default_factory=dict)
    refined: Refined = _nobody

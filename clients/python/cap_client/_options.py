"""What callers may ask for, written once for all clients and checked against the server's API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict

Strategy = str | Mapping[str, Any]
"""A name, or `{"name": …, PARAMETER: …}`; `strategies()` lists names and parameters."""


class Sampling(TypedDict, total=False):
    """How texts are drawn.

    Attributes:
        temperature: 0 to 2; the server's default is 0 for a single draw, 0.7 for several.
        top_p: above 0, to 1.
        max_tokens: of each draw, at most.
        seed: a request that names one repeats exactly.
    """

    temperature: float | None
    top_p: float
    max_tokens: int | None
    seed: int | None


class Budget(TypedDict, total=False):
    """What a request may spend; then the best answer so far is returned.

    Attributes:
        programs: drawn at most.
        tokens: completion tokens over all draws.
        deadline_s: seconds; 60 where none is given.
    """

    programs: int | None
    tokens: int | None
    deadline_s: float


class Limits(TypedDict, total=False):
    """What one program may use.

    Attributes:
        wall_s: seconds; 3 where none is given.
        memory_bytes: address space; 512 MiB where none is given.
    """

    wall_s: float
    memory_bytes: int


class SharedOptions(TypedDict, total=False):
    """How a problem is refined, or all problems of a batch.

    Attributes:
        strategy: how many programs are drawn, and how one answer is chosen; the server's default
            is `adaptive`.
        include: what to return beyond the answer: every draw; how the choice came about.
    """

    strategy: Strategy | None
    sampling: Sampling | None
    budget: Budget | None
    limits: Limits | None
    include: Sequence[Literal["candidates", "trace"]] | None


class RefineOptions(SharedOptions, total=False):
    """What `refine` takes besides the question.

    Attributes:
        cot: the chain of thought to refine.
        answer: the answer to refine; what the CoT comes to where none is given.
        choices: the question's options; the answer is then a letter, A the first.
        source: the name of the model that wrote the CoT, by which the server learns how good it is.
    """

    cot: str | None
    answer: str | None
    choices: Sequence[str] | None
    source: str | None


class Question(TypedDict):
    question: str


class Problem(Question, total=False):
    """One problem of a batch: as `RefineOptions` has it, and a name of your own for it."""

    custom_id: str | None
    cot: str | None
    answer: str | None
    choices: Sequence[str] | None
    source: str | None


class ChatOptions(SharedOptions, total=False):
    """What `chat_stream` takes as `cap`: how the answer is refined.

    Attributes:
        choices: the options of a multiple-choice question.
        answer: the answer to refine, where the conversation ends with an assistant's message.
        source: who wrote that message.
    """

    choices: Sequence[str] | None
    answer: str | None
    source: str | None


class Message(TypedDict):
    """One turn of a conversation."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str

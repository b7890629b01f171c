"""What the house needs from outside. Adapters implement these; nothing else crosses the walls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from cap_server.domain import Answer, Execution, Limits, Prompt, Sample, Sampling


class Model(Protocol):
    @property
    def name(self) -> str:
        """The name under which the upstream knows the model."""
        ...

    async def sample(self, prompt: Prompt, *, sampling: Sampling, draw: int) -> Sample:
        """Draw one text.

        Cancelling the call ends the generation upstream.

        Args:
            prompt: what to answer.
            sampling: `seed` is this draw's own; `max_tokens` is a ceiling.
            draw: which draw of its kind in the refinement this is, from 0.

        Raises:
            PromptTooLongError: prompt and `max_tokens` do not fit the model's context.
            ModelUnavailableError: nobody answers, or the upstream is overloaded.
            ModelResponseError: it answered something that is no completion, or refused.
        """
        ...

    async def check(self) -> None:
        """Return if the model would answer now.

        Raises:
            ModelUnavailableError: why it would not.
            ModelResponseError: the upstream answers, but not as the API says, or lacks the model.
        """
        ...


class Sandbox(Protocol):
    async def execute(self, program: str, *, limits: Limits) -> Execution:
        """Run untrusted `program` to its end or to `limits`.

        A program that crashes or runs out of time is an `Execution`, never an exception.

        Raises:
            SandboxUnavailableError: the sandbox, not the program, failed.
        """
        ...

    async def check(self) -> str:
        """Return the isolation tier that programs run under, having run one.

        Raises:
            SandboxUnavailableError: why it could not.
        """
        ...


class Equality(Protocol):
    async def same(self, a: Answer, b: Answer) -> bool:
        """Whether two answers mean the same, as `docs/answers.md` defines it."""
        ...

    async def option(self, answer: Answer, choices: Sequence[str]) -> Answer | None:
        """The letter of the choice that `answer` names or equals; None when it is none of them."""
        ...

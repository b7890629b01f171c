"""What the house needs from outside. Adapters implement these; nothing else crosses the walls."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any, Protocol

from cap_server.batches.item import Item, Name
from cap_server.domain import (
    Answer,
    Candidate,
    ChatReply,
    Execution,
    Judgement,
    Key,
    Limits,
    Pattern,
    Problem,
    Prompt,
    Sample,
    Sampling,
    Usage,
)


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


class ChatModel(Protocol):
    """A model that clients talk to through this server, in OpenAI's words."""

    @property
    def name(self) -> str:
        """The name under which the upstream knows the model."""
        ...

    async def complete(self, body: Mapping[str, Any]) -> ChatReply:
        """Pass a chat completion's request on, under the model's own name.

        Raises:
            InvalidRequestError: the upstream refuses the request; the message says why.
            CapError: as for `Model.sample`.
        """
        ...

    def stream(self, body: Mapping[str, Any]) -> AsyncGenerator[bytes, None]:
        """The same with `"stream": true`: the bytes as they come.

        Closing the generator ends the generation upstream. Raises as `complete`.
        """
        ...


class Scorer(Protocol):
    """A model that tells log-probabilities: what critics need of it."""

    async def first_token(self, prompt: Prompt) -> tuple[Mapping[str, float], Usage]:
        """The log-probabilities of the likeliest first tokens of a reply, by their text.

        Raises:
            LogprobsUnavailableError: the upstream does not tell them.
            CapError: as for `Model.sample`.
        """
        ...

    async def log_likelihood(self, prompt: Prompt, text: str) -> tuple[float, Usage]:
        """The mean log-probability of the tokens of `text` as the reply to `prompt`.

        Raises:
            LogprobsUnavailableError: the upstream does not tell it.
            CapError: as for `Model.sample`.
        """
        ...


class Critic(Protocol):
    async def judge(self, problem: Problem, candidate: Candidate) -> Judgement:
        """Say how good `candidate` is, from 0 to 1.

        Raises:
            CriticUnavailableError: it cannot be asked now.
            LogprobsUnavailableError: the upstream does not tell what it needs.
        """
        ...


class PatternStore(Protocol):
    """Keeps patterns of agreement across restarts, and shares them between replicas."""

    async def append(self, patterns: Sequence[tuple[str, Pattern]]) -> None:
        """Keep `patterns`, each with its tenant, in this order.

        Raises:
            StoreUnavailableError: it cannot now.
        """
        ...

    async def others(self, *, after: int) -> tuple[int, Sequence[tuple[str, Pattern]]]:
        """What this process did not append itself, oldest first, each with its tenant.

        Args:
            after: a mark from an earlier call, for what is new since; 0 for all.

        Returns:
            The mark to go on from, and the patterns.

        Raises:
            StoreUnavailableError: it cannot now.
        """
        ...


class KeyStore(Protocol):
    """Keeps API keys where every replica finds them. None is ever forgotten, revoked or not."""

    async def add(self, key: Key) -> None:
        """Keep `key`.

        Raises:
            NameTakenError: a key that is not revoked has its name.
            StoreUnavailableError: it cannot now.
        """
        ...

    async def live(self) -> tuple[bool, Sequence[Key]]:
        """Whether there ever was a key, and those that are not revoked.

        Raises:
            StoreUnavailableError: it cannot be told now.
        """
        ...

    async def all(self) -> Sequence[Key]:
        """All that were ever made, oldest first.

        Raises:
            StoreUnavailableError: they cannot be told now.
        """
        ...

    async def revoke(self, name_or_id: str) -> Key | None:
        """Accept a key no longer; None: no key that is accepted now has this name or id.

        Raises:
            StoreUnavailableError: it cannot now.
        """
        ...


class BatchStore(Protocol):
    """Keeps the items of batches, so that a batch can be continued, here or by another replica.

    Every method raises StoreUnavailableError when it cannot do its work now.
    """

    async def claim(self, name: Name, *, new_id: str, holder: str, lease_s: float) -> str:
        """Make `holder` the one that works on the batch of this name, for `lease_s`.

        Args:
            name: whose batch, and for what.
            new_id: the batch's id if there is none of this name yet.
            holder: as `renew` and `release` are told.
            lease_s: after which others may claim the batch.

        Returns:
            The batch's id.

        Raises:
            BatchMismatchError: the name stands for another body.
            BatchHeldError: another holder's lease has not ended.
        """
        ...

    async def renew(self, batch: str, *, holder: str, lease_s: float) -> bool:
        """Prolong the lease of `holder`; whether it is still the holder's."""
        ...

    async def release(self, batch: str, *, holder: str) -> None:
        """End the lease of `holder`, if it is still the holder's."""
        ...

    async def keep(self, items: Sequence[tuple[str, Item]]) -> None:
        """Keep `items`, each with its batch's id. An item that is there stays as it is."""
        ...

    async def indexes(self, batch: str) -> frozenset[int]:
        """Which of the batch's items are kept."""
        ...

    async def kept(self, batch: str, *, after: int, most: int) -> Sequence[Item]:
        """The first `most` kept items whose index is above `after`, by index."""
        ...

    async def sweep(self, *, before: float, most_bytes: int) -> None:
        """Forget batches that nobody holds.

        Args:
            before: those that were last worked on before then, in seconds since 1970.
            most_bytes: while there is more, the oldest batch of the tenant that has most goes too.
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

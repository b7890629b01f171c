"""The values that the house speaks in. Nothing here does anything."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Literal

from cap_sandbox import Execution, Limits, Status, Value

__all__ = [
    "Answer", "Budget", "Candidate", "ChatReply", "Choice", "CriticName", "Decision",
    "Execution", "Judgement", "Key", "Limits", "Message", "Pattern", "Prior", "Problem", "Prompt",
    "Refinement", "Right", "Sample", "Sampling", "Status", "Step", "StoppedBy", "Task", "Usage",
    "Value",
]  # fmt: skip

Task = Literal["cot", "program", "verdict"]
"""What a model is asked to write: a verdict is a yes or no on a CoT or program."""

Decision = Literal["confirmed", "corrected", "kept", "answered", "unresolved"]
"""What a refinement did to the prior.

`confirmed`: programs agree with it. `corrected`: the answer changed. `kept`: the evidence is too
weak to overrule it. `answered`: there was no prior answer. `unresolved`: no candidate has an
answer, and the prior is returned untouched.
"""

CriticName = Literal["generative", "reward_model", "likelihood", "contrastive"]
"""Who scores candidates; `docs/critics.md` says how."""

StoppedBy = Literal["deadline", "programs", "tokens"]
"""The limit of the request that ended a refinement before its strategy was through."""

Right = Literal["execute"]
"""What an API key may do beyond refining: run programs of its owner's."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer as it is shown, and as LaTeX where sympy wrote it."""

    text: str
    latex: str | None = None


@dataclass(frozen=True, slots=True)
class Prior:
    """What is to be refined: a CoT, the answer it comes to, and the model that wrote it."""

    cot: str | None = None
    answer: Answer | None = None
    source: str | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    question: str
    choices: tuple[str, ...] = ()
    prior: Prior = field(default_factory=Prior)

    def given(self, cot: str) -> Problem:
        """This problem, to be answered in the light of `cot`."""
        return replace(self, prior=replace(self.prior, cot=cot))

    def without_prior(self) -> Problem:
        """This problem, to be answered as if nobody had tried."""
        return replace(self, prior=Prior())


@dataclass(frozen=True, slots=True)
class Message:
    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """A problem put to a model: what is asked, of which problem, in which words."""

    task: Task
    problem: Problem
    messages: tuple[Message, ...]
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Sampling:
    """How texts are drawn.

    Attributes:
        temperature: 0 to 2. None: 0 for a single draw, 0.7 for several.
        top_p: above 0, to 1.
        max_tokens: a ceiling on the completion; the model's context may leave less room.
            None: the server's default.
        seed: 0 to 2**53 - 1; a request that names one repeats exactly. None: random.
        logprobs: whether samples tell their log-likelihood.
    """

    temperature: float | None = None
    top_p: float = 0.95
    max_tokens: int | None = None
    seed: int | None = None
    logprobs: bool = False


@dataclass(frozen=True, slots=True)
class Sample:
    """One text that a model wrote, and what it cost.

    Attributes:
        complete: whether the model came to its end by itself, and was not cut off.
        model_s: seconds from the request to the last byte.
        log_likelihood: mean log-probability of its tokens, at most 0; None where it was not asked
            for, or the upstream does not tell.
    """

    text: str
    complete: bool = True
    prompt_tokens: int = 0
    completion_tokens: int = 0
    model_s: float = 0.0
    log_likelihood: float | None = None


@dataclass(frozen=True, slots=True)
class ChatReply:
    """What a model answered to a conversation.

    Attributes:
        finish_reason: OpenAI's: `stop`, `length`, `tool_calls`, `content_filter`.
        content: the answer's bytes, as the upstream sent them.
    """

    text: str
    finish_reason: str = "stop"
    prompt_tokens: int = 0
    completion_tokens: int = 0
    content: bytes = b""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A CoT or a program, with its answer.

    Attributes:
        index: its place among the draws of its kind in this refinement, from 0.
        text: the CoT, or the program as it ran; empty when the model wrote none.
        execution: how the program ended; None for a CoT and for an empty program.
        log_likelihood: mean log-probability of its tokens, where it was asked for.
        score: what a critic made of it, 0 to 1, where one was asked.
    """

    kind: Task
    index: int
    text: str
    answer: Answer | None = None
    execution: Execution | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    log_likelihood: float | None = None
    score: float | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a strategy's way to its choice, for `include: ["trace"]`.

    Attributes:
        event: `vote`, the candidates grouped by answer; `posterior`, how probable each answer is
            after so many programs; `score`, what a critic made of a candidate; `cancelled`, draws
            that could no longer change the choice; `decided`, why the strategy stopped.
        programs: how many programs had been weighed by then.
        weights: by answer: votes, probabilities or scores. `null` stands for "none of these".
        detail: in words.
    """

    event: Literal["vote", "posterior", "score", "cancelled", "decided"]
    programs: int
    weights: tuple[tuple[str | None, float], ...] = ()
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Pattern:
    """Who agreed with whom in one refinement, without any text: what trust is estimated from.

    Answers are numbered; equal numbers are equal answers.

    Attributes:
        source: the name of the model that wrote the prior's CoT, or None.
        prior: the number of the prior's answer; None without a prior.
        programs: the number of each program's answer, of programs drawn in the same way; None for
            one that came to no answer.
    """

    source: str | None
    prior: int | None
    programs: tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """What a strategy settled on.

    Attributes:
        winner: the candidate that stands for `answer`; None when none does.
        answer: None when no candidate has one.
        confidence: how far the draws support `answer`, 0 to 1.
        pattern: who agreed with whom, where the programs can tell about the source's quality.
    """

    decision: Decision
    answer: Answer | None
    confidence: float
    winner: Candidate | None = None
    pattern: Pattern | None = None


@dataclass(frozen=True, slots=True)
class Budget:
    """What one request may spend.

    Attributes:
        programs: draws of programs. None: as many as the strategy asks for.
        tokens: completion tokens over all draws. None: no limit.
        deadline_s: seconds until the best answer so far is returned.
    """

    programs: int | None = None
    tokens: int | None = None
    deadline_s: float = 60.0


@dataclass(frozen=True, slots=True)
class Usage:
    """What one request spent, over all its draws.

    Attributes:
        prompt_tokens: as the model's server counts them, critics' questions included. A draw that
            was cancelled is counted as a draw; nobody reports its tokens.
        cots: draws of CoTs that were started.
        programs: draws of programs that were started.
        finished: draws, of both, that came to a text.
        failed: draws for which the model gave nothing usable.
        cancelled: draws that were cut short because the choice was made or the deadline passed.
            Every draw that was started finished, failed or was cancelled.
        executions: programs that ran; identical ones run once.
        model_s: seconds of model calls, added up; they overlap, so it can exceed `wall_s`.
        sandbox_s: seconds of executions, added up.
        wall_s: seconds that the request took here.
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cots: int = 0
    programs: int = 0
    finished: int = 0
    failed: int = 0
    cancelled: int = 0
    executions: int = 0
    model_s: float = 0.0
    sandbox_s: float = 0.0
    wall_s: float = 0.0

    def __add__(self, other: Usage) -> Usage:
        return Usage(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(Usage)))


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a critic makes of one candidate.

    Attributes:
        score: 0 to 1, higher is better.
        usage: the tokens that it cost.
    """

    score: float
    usage: Usage = field(default_factory=Usage)


@dataclass(frozen=True, slots=True)
class Refinement:
    decision: Decision
    answer: Answer | None
    original_answer: Answer | None
    confidence: float
    winner: Candidate | None
    candidates: tuple[Candidate, ...]
    usage: Usage
    stopped_by: StoppedBy | None = None
    trace: tuple[Step, ...] = ()
    warnings: tuple[str, ...] = ()
    pattern: Pattern | None = None


@dataclass(frozen=True, slots=True)
class Key:
    """An API key, without its secret.

    Attributes:
        id: public; names the key in logs and to whoever revokes it.
        digest: the hash of its secret.
        per_minute: requests; None: the server's default, 0: no limit.
        at_once: requests under way; as `per_minute`.
        created: seconds since 1970.
        revoked: when it was, or None.
    """

    id: str
    name: str
    digest: str
    rights: frozenset[Right] = frozenset()
    per_minute: int | None = None
    at_once: int | None = None
    created: float = 0.0
    revoked: float | None = None


CircuitState = Literal["closed", "half_open", "open"]
"""Whether requests pass to a server: all, one as a probe, none."""


@dataclass(frozen=True, slots=True)
class ReplicaFigures:
    """One of the servers that offer a model.

    Attributes:
        number: its place among the URLs, from 0; a URL may hold a secret.
        under_way: requests that it has now.
    """

    number: int
    circuit: CircuitState
    under_way: int

"""What the server answers, typed. Fields that a newer server adds are kept as they came.

A test compares every field, type and choice with the server's OpenAPI document.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Decision = Literal["confirmed", "corrected", "kept", "answered", "unresolved"]


class Result(BaseModel):
    model_config = ConfigDict(frozen=True, extra="allow", protected_namespaces=())


class Fault(Result):
    message: str
    type: str
    param: str | None
    code: str


class Failure(Result):
    """Every error's body."""

    error: Fault


class Value(Result):
    """A program's answer, typed and exact."""

    type: Literal[
        "int", "float", "fraction", "decimal", "complex", "expression", "bool", "text", "list",
        "dict", "date", "none",
    ]  # fmt: skip
    text: str = Field(description="The value as Python or sympy writes it.")
    latex: str | None = Field(None, description="Of an `expression`.")
    items: list[Value] | None = Field(None, description="Of a `list`.")
    entries: list[tuple[Value, Value]] | None = Field(None, description="Of a `dict`.")


class Execution(Result):
    """What became of one program."""

    status: Literal["ok", "error", "timeout", "memory", "killed", "rejected"]
    value: Value | None
    stdout: str
    stderr: str = Field(description="Why it did not end `ok`.")
    wall_s: float
    cpu_s: float
    peak_memory_bytes: int


class Candidate(Result):
    """A CoT or a program that was drawn."""

    kind: Literal["cot", "program", "verdict"]
    index: int = Field(description="Its place among the draws of its kind.")
    text: str
    answer: str | None
    execution: Execution | None
    prompt_tokens: int
    completion_tokens: int
    log_likelihood: float | None
    score: float | None


class Weight(Result):
    answer: str | None = Field(description="None: none of those that were given.")
    weight: float


class Step(Result):
    """One step on the way to the choice."""

    event: Literal["vote", "posterior", "score", "cancelled", "decided"]
    programs: int
    weights: list[Weight]
    detail: str


class Usage(Result):
    """What was spent, over all draws."""

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


class ResolvedStrategy(Result):
    """The strategy that was used, with all its parameters as further attributes."""

    name: str


class Refinement(Result):
    """What became of an answer, and why."""

    id: str
    object: Literal["refinement"] = "refinement"
    created: int = Field(description="Seconds since 1970.")
    model: str
    decision: Decision
    answer: str | None
    original_answer: str | None
    confidence: float
    program: str | None = Field(description="One that comes to `answer`; run it yourself.")
    execution: Execution | None
    strategy: ResolvedStrategy
    candidates: list[Candidate] | None = Field(description="Where `include` asks for them.")
    trace: list[Step] | None = Field(description="Where `include` asks for it.")
    warnings: list[str]
    usage: Usage
    stopped_by: Literal["deadline", "programs", "tokens"] | None


class CandidateEvent(Result):
    """A CoT was written, or a program, which has not run yet."""

    object: Literal["refinement.candidate"] = "refinement.candidate"
    id: str
    candidate: Candidate


class ExecutionEvent(Result):
    """A program has run."""

    object: Literal["refinement.execution"] = "refinement.execution"
    id: str
    kind: Literal["cot", "program", "verdict"]
    index: int
    answer: str | None
    execution: Execution


class StepEvent(Result):
    """The strategy is one step further."""

    object: Literal["refinement.step"] = "refinement.step"
    id: str
    step: Step


Event = CandidateEvent | ExecutionEvent | StepEvent | Refinement
"""What a stream of `refine` yields; the refinement is the last."""


class ChatDelta(Result):
    """Only what is new."""

    role: Literal["assistant"] | None = None
    content: str | None = None
    reasoning_content: str | None = None


class ChatChoice(Result):
    index: int
    delta: ChatDelta
    finish_reason: str | None = None
    cap: Refinement | None = Field(None, description="In the last one, where there is anything.")


class ChatChunk(Result):
    """A piece of a chat completion, as OpenAI shapes it."""

    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int
    model: str
    choices: list[ChatChoice]


class BatchItem(Result):
    """What became of one problem of a batch: `refinement`, or `error` with its `status`."""

    object: Literal["refinement.batch.item"] = "refinement.batch.item"
    index: int = Field(description="The problem's place in the batch.")
    custom_id: str | None
    status: int
    refinement: Refinement | None
    error: Fault | None


class BatchSummary(Result):
    object: Literal["refinement.batch"] = "refinement.batch"
    id: str
    problems: int
    failed: int
    usage: Usage


class StrategyDescription(Result):
    name: str
    summary: str
    when: str = Field(description="When to use it.")
    source: str = Field(description="The paper it comes from.")
    parameters: dict[str, Any] = Field(description="By name: JSON Schema.")


class Strategies(Result):
    object: str = "list"
    default: str
    data: list[StrategyDescription]


class Source(Result):
    """How good a model that writes CoTs proved to be."""

    source: str | None
    accuracy: float
    low: float
    high: float
    requests: int


class ModelTrust(Result):
    concentration: float
    reliability: float


class Sources(Result):
    object: str = "list"
    data: list[Source]
    model: ModelTrust
    stored: bool


class Check(Result):
    ready: bool
    detail: str


class Replica(Result):
    """One of the servers of a model, and whether it is asked at all."""

    role: str
    number: int
    circuit: Literal["closed", "half_open", "open"]
    under_way: int


class Readiness(Result):
    ready: bool
    checks: dict[str, Check]
    replicas: list[Replica] = []

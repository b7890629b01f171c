"""An answer of OpenAI's Responses API: reasoning, the program as a tool's call, the message."""

from __future__ import annotations

import uuid
from typing import Any, Literal

from pydantic import BaseModel, Field

from cap_server.api.chat_out import UsageOut
from cap_server.api.refinement import RefinementOut
from cap_server.chat import Reply

Status = Literal["in_progress", "completed", "incomplete"]


class SummaryOut(BaseModel):
    type: Literal["summary_text"] = "summary_text"
    text: str


class ReasoningOut(BaseModel):
    id: str
    type: Literal["reasoning"] = "reasoning"
    status: Status = "completed"
    summary: list[SummaryOut]


class LogsOut(BaseModel):
    type: Literal["logs"] = "logs"
    logs: str


class CodeOut(BaseModel):
    """The program that comes to the answer, as it ran in the sandbox."""

    id: str
    type: Literal["code_interpreter_call"] = "code_interpreter_call"
    status: Status = "completed"
    code: str
    container_id: str = Field("sandbox", description="There are no containers to come back to.")
    outputs: list[LogsOut]


class TextOut(BaseModel):
    type: Literal["output_text"] = "output_text"
    text: str
    annotations: list[Any] = []
    logprobs: list[Any] = []


class MessageItemOut(BaseModel):
    id: str
    type: Literal["message"] = "message"
    role: Literal["assistant"] = "assistant"
    status: Status = "completed"
    content: list[TextOut]


Item = ReasoningOut | CodeOut | MessageItemOut


class InputDetailsOut(BaseModel):
    cached_tokens: int = 0


class OutputDetailsOut(BaseModel):
    reasoning_tokens: int


class ResponseUsageOut(BaseModel):
    """Of all draws."""

    input_tokens: int
    input_tokens_details: InputDetailsOut
    output_tokens: int
    output_tokens_details: OutputDetailsOut
    total_tokens: int

    @classmethod
    def of(cls, reply: Reply) -> ResponseUsageOut:
        usage = UsageOut.of([reply])
        details = usage.completion_tokens_details
        reasoning = details.reasoning_tokens if details else 0
        return cls(
            input_tokens=usage.prompt_tokens,
            input_tokens_details=InputDetailsOut(),
            output_tokens=usage.completion_tokens,
            output_tokens_details=OutputDetailsOut(reasoning_tokens=reasoning),
            total_tokens=usage.total_tokens,
        )


class IncompleteOut(BaseModel):
    reason: str


class ResponseOut(BaseModel):
    id: str
    object: Literal["response"] = "response"
    created_at: int
    status: Status
    model: str
    output: list[Item]
    usage: ResponseUsageOut | None = None
    cap: RefinementOut | None = Field(None, description="null: there was nothing to refine.")
    error: None = None
    incomplete_details: IncompleteOut | None = None
    instructions: str | None = None
    metadata: dict[str, str] = {}
    parallel_tool_calls: bool = False
    tool_choice: Literal["auto"] = "auto"
    tools: list[Any] = []
    temperature: float | None = None
    top_p: float | None = None
    max_output_tokens: int | None = None
    store: Literal[False] = False


def items(reply: Reply, refinement: RefinementOut | None, thoughts: str) -> list[Item]:
    """What `reply` consists of, in order: how it came about, the program, the answer."""
    found: list[Item] = []
    if thoughts:
        found.append(ReasoningOut(id=_id("rs"), summary=[SummaryOut(text=thoughts)]))
    if refinement is not None and refinement.program is not None:
        logs = [LogsOut(logs=_logs(refinement))]
        found.append(CodeOut(id=_id("ci"), code=refinement.program, outputs=logs))
    status: Status = "incomplete" if reply.finish_reason == "length" else "completed"
    message = MessageItemOut(id=_id("msg"), status=status, content=[TextOut(text=reply.text)])
    return [*found, message]


def _logs(refinement: RefinementOut) -> str:
    execution = refinement.execution
    printed = execution.stdout if execution else ""
    value = execution.value.text if execution and execution.value else refinement.answer
    return f"{printed}answer = {value}"


def _id(kind: str) -> str:
    return f"{kind}_{uuid.uuid4().hex}"

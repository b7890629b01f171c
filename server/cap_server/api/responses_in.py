"""A request of OpenAI's Responses API: the subset that a refinement can honour."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from cap_server.api.chat_in import CapIn, ChatIn
from cap_server.errors import BadRequestError
from cap_server.whole import ALSO_AS_FLOAT

_OURS = {"reasoning", "code_interpreter_call"}
"""Items of our answers, which clients send back with the next question."""


def _no_number(value: object) -> object:
    if not isinstance(value, bool):
        raise ValueError("must be false")
    return value


Off = Annotated[Literal[False], BeforeValidator(_no_number)]
"""Python's 0 is its False."""


class _Open(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True, strict=True)


class ContentIn(_Open):
    type: str
    text: str | None = None


class ItemIn(_Open):
    type: str = "message"
    role: str | None = None
    content: str | list[ContentIn] | None = None


class FormatIn(_Open):
    type: str


class TextIn(_Open):
    format: FormatIn | None = None


class ToolIn(_Open):
    type: str


class ResponsesIn(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    model: Annotated[str, Field(min_length=1, max_length=200)]
    input: (
        Annotated[str, Field(min_length=1)]
        | Annotated[list[ItemIn], Field(min_length=1, max_length=999)]
    )
    instructions: str | None = Field(None, description="A system prompt.")
    stream: bool | None = None
    temperature: Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] | None = None
    max_output_tokens: Annotated[int, Field(ge=1), ALSO_AS_FLOAT] | None = None
    metadata: dict[str, str] | None = Field(None, description="Comes back with the answer.")
    user: str | None = None
    cap: CapIn | None = Field(None, description="How to refine.")
    include: list[Literal["code_interpreter_call.outputs"]] | None = None
    store: Off | None = Field(None, description="Nothing is stored: leave it out.")
    background: Off | None = None
    previous_response_id: None = Field(
        None, description="Nothing is stored: send the earlier turns as `input`."
    )
    conversation: None = None
    tools: list[ToolIn] | None = Field(
        None, description="`code_interpreter` only, which is what a refinement is."
    )
    tool_choice: Literal["auto", "none"] | None = None
    parallel_tool_calls: bool | None = None
    text: TextIn | None = None
    truncation: Literal["disabled"] | None = None

    def as_chat(self) -> ChatIn:
        """The same as a chat completion's request.

        Raises:
            BadRequestError: it asks for what a refinement does not offer.
        """
        for i, tool in enumerate(self.tools or ()):
            if tool.type != "code_interpreter":
                raise BadRequestError(
                    f"tools.{i}.type: only code_interpreter (got {tool.type[:40]!r})",
                    param=f"tools.{i}.type",
                )
        if self.text and self.text.format and self.text.format.type != "text":
            raise BadRequestError(
                "text.format: a corrected answer is plain text", param="text.format"
            )
        body: dict[str, Any] = {
            "model": self.model,
            "messages": self._messages(),
            "temperature": self.temperature,
            "top_p": self.top_p,
            "max_tokens": self.max_output_tokens,
            "user": self.user,
            "stream": self.stream,
        }
        given = {name: value for name, value in body.items() if value is not None}
        return ChatIn.model_validate(given).model_copy(update={"cap": self.cap})

    def _messages(self) -> list[dict[str, str]]:
        messages = []
        if self.instructions:
            messages.append({"role": "system", "content": self.instructions})
        if isinstance(self.input, str):
            return [*messages, {"role": "user", "content": self.input}]
        for i, item in enumerate(self.input):
            if item.type == "message":
                messages.append({"role": item.role or "", "content": _text(item, f"input.{i}")})
            elif item.type not in _OURS:
                raise BadRequestError(
                    f"input.{i}.type: only messages can be refined (got {item.type[:40]!r})",
                    param=f"input.{i}.type",
                )
        if not messages:
            raise BadRequestError("input: there is no message", param="input")
        return messages


def _text(item: ItemIn, at: str) -> str:
    if not isinstance(item.content, list):
        return item.content or ""
    for i, part in enumerate(item.content):
        if part.type not in ("input_text", "output_text", "text"):
            raise BadRequestError(
                f"{at}.content.{i}.type: programs see text only (got {part.type[:40]!r})",
                param=f"{at}.content.{i}.type",
            )
    return "\n".join(part.text for part in item.content if part.text)

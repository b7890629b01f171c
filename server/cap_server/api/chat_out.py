"""A chat completion's answer, whole and in chunks, as OpenAI shapes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, Field, SerializerFunctionWrapHandler, model_serializer

from cap_server.api.refinement import RefinementOut
from cap_server.chat import Reply


class MessageOut(BaseModel):
    role: Literal["assistant"] = "assistant"
    content: str
    reasoning_content: str | None = Field(None, description="The CoT, the programs, their results.")
    refusal: None = None


class ChoiceOut(BaseModel):
    index: int
    message: MessageOut
    finish_reason: str
    logprobs: dict[str, Any] | None = Field(
        None, description="Of a model that answers by itself; null from `cap`."
    )
    cap: RefinementOut | None = Field(
        None,
        description="null: there was nothing to refine. Models that answer by themselves lack it.",
    )


class TokenDetailsOut(BaseModel):
    reasoning_tokens: int = Field(description="Of the completion tokens, those of programs.")


class UsageOut(BaseModel):
    """Of all draws."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    completion_tokens_details: TokenDetailsOut | None = None

    @classmethod
    def of(cls, replies: Sequence[Reply]) -> UsageOut:
        prompt = sum(each.chat.prompt_tokens for each in replies)
        chat = sum(each.chat.completion_tokens for each in replies)
        spent = [each.refinement.usage for each in replies if each.refinement]
        prompt += sum(each.prompt_tokens for each in spent)
        reasoning = sum(each.completion_tokens for each in spent)
        return cls(
            prompt_tokens=prompt,
            completion_tokens=chat + reasoning,
            total_tokens=prompt + chat + reasoning,
            completion_tokens_details=TokenDetailsOut(reasoning_tokens=reasoning),
        )


class CompletionOut(BaseModel):
    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[ChoiceOut]
    usage: UsageOut


class DeltaOut(BaseModel):
    """Only what is new."""

    role: Literal["assistant"] | None = None
    content: str | None = None
    reasoning_content: str | None = None

    @model_serializer(mode="wrap")
    def _without_absent(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in handler(self).items() if value is not None}


class ChunkChoiceOut(BaseModel):
    index: int
    delta: DeltaOut
    finish_reason: str | None = None
    logprobs: None = None
    cap: RefinementOut | None = None


class ChunkOut(BaseModel):
    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int
    model: str
    choices: list[ChunkChoiceOut]
    usage: UsageOut | None = None

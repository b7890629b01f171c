"""A chat completion's request: OpenAI's fields, and how `cap` takes each."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

from cap_server.api.terms import Choices, Source, TermsIn
from cap_server.api.wire import Text
from cap_server.chat import Conversation, Role, Turn
from cap_server.errors import BadRequestError
from cap_server.whole import ALSO_AS_FLOAT

MOST_CHOICES = 8
"""Answers to one request (`n`); each is drawn and refined by itself."""

_LONGEST_QUESTION = 32_768

Approach = Literal["none", "bon", "self_consistency", "majority_voting"]


class CapIn(TermsIn):
    """The fields of `/v1/refine` that a conversation does not hold."""

    choices: Choices | None = None
    answer: Text | None = Field(None, description="The answer to refine. Unset: what is stated.")
    source: Source | None = None


class PartIn(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True, strict=True)

    type: str
    text: str | None = None


class MessageIn(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True, strict=True)

    role: str
    content: str | list[PartIn] | None = None

    def text(self) -> str:
        """Its text parts, joined."""
        if isinstance(self.content, list):
            return "\n".join(part.text for part in self.content if part.text)
        return self.content or ""


class StreamOptionsIn(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True, strict=True)

    include_usage: bool = False


class ChatIn(BaseModel):
    """Fields that are not named here go to the model that answers, as they are."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)

    model: Annotated[str, Field(min_length=1, max_length=200)]
    messages: Annotated[list[MessageIn], Field(min_length=1, max_length=1000)]
    n: Annotated[int, Field(ge=1, le=MOST_CHOICES), ALSO_AS_FLOAT] | None = None
    stream: bool | None = None
    stream_options: StreamOptionsIn | None = None
    seed: Annotated[int, Field(ge=0, le=2**53 - 1), ALSO_AS_FLOAT] | None = None
    temperature: Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] | None = None
    max_tokens: Annotated[int, Field(ge=1), ALSO_AS_FLOAT] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1), ALSO_AS_FLOAT] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2, allow_inf_nan=False)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2, allow_inf_nan=False)] | None = None
    stop: str | Annotated[list[str], Field(max_length=16)] | None = None
    user: str | None = None
    cap: CapIn | None = Field(None, description="How to refine.")
    optillm_approach: Approach | None = Field(
        None, description="optillm's names: `none`, `bon`, `self_consistency`, `majority_voting`."
    )
    budget: Annotated[int, Field(ge=1, le=64), ALSO_AS_FLOAT] | None = Field(
        None, description="its_hub's: how many programs to draw."
    )

    def forwarded(self) -> dict[str, Any]:
        """What the model that answers is sent; unset fields and nulls are left out."""
        body: dict[str, Any] = self.model_dump(exclude_unset=True)
        ours = {"cap", "optillm_approach", "budget"}
        return {key: value for key, value in body.items() if value is not None and key not in ours}

    def for_one_answer(self, index: int) -> dict[str, Any]:
        """What the model is sent for choice `index`, whole: seeds differ, so that answers do."""
        body = self.forwarded()
        for field in ("n", "stream", "stream_options"):
            body.pop(field, None)
        if self.seed is not None and index:
            body["seed"] = (self.seed + 7919 * index) % 2**53
        return body


_REFUSED = {
    "tools": "tools cannot be refined",
    "tool_choice": "tools cannot be refined",
    "functions": "functions cannot be refined",
    "function_call": "functions cannot be refined",
    "logprobs": "a corrected answer has no log-probabilities",
    "top_logprobs": "a corrected answer has no log-probabilities",
    "audio": "answers are text",
    "prediction": "a corrected answer cannot be predicted",
    "web_search_options": "nothing is searched for",
}
_ROLES: dict[str, Role] = {role: role for role in get_args(Role)}
_HARMLESS = {"tools": [], "tool_choice": "none", "logprobs": False, "top_logprobs": 0}


def refuse_what_cannot_be_refined(body: ChatIn) -> None:
    """Check what `cap` cannot honour.

    Raises:
        BadRequestError: it names the field.
    """
    extras = body.model_extra or {}
    for name, why in _REFUSED.items():
        value = extras.get(name)
        if value is not None and value != _HARMLESS.get(name, ...):
            raise BadRequestError(
                f"{name}: {why}; send it to the model itself, not to `cap`", param=name
            )
    for name, allowed in (("response_format", {"type": "text"}), ("modalities", ["text"])):
        if extras.get(name) not in (None, allowed):
            raise BadRequestError(
                f"{name}: a corrected answer is plain text; leave it out, or send the request to "
                "the model itself, not to `cap`",
                param=name,
            )


def conversation_of(body: ChatIn) -> Conversation:
    """The conversation, checked.

    Raises:
        BadRequestError: it cannot be answered; the message says where and why.
    """
    turns = [_turn(message, f"messages.{i}") for i, message in enumerate(body.messages)]
    last = len(turns) - 1
    if turns[last].role not in ("user", "assistant"):
        raise BadRequestError(
            f"messages.{last}.role: the last message must be the user's, or the assistant's answer "
            f"to it (got {turns[last].role!r})",
            param=f"messages.{last}.role",
        )
    asked = turns[:last] if turns[last].role == "assistant" else turns
    if not any(turn.role == "user" for turn in asked):
        raise BadRequestError(
            "messages: the user must ask something before it is answered", param="messages"
        )
    if not turns[last].text.strip():
        raise BadRequestError(
            f"messages.{last}.content: there is no text", param=f"messages.{last}.content"
        )
    conversation = Conversation(turns)
    if len(conversation.question) > _LONGEST_QUESTION:
        raise BadRequestError(
            f"messages: together they are longer than {_LONGEST_QUESTION} characters",
            param="messages",
        )
    return conversation


def _turn(message: MessageIn, at: str) -> Turn:
    role = _ROLES.get(message.role)
    if role is None:
        raise BadRequestError(
            f"{at}.role: must be one of {', '.join(_ROLES)} (got {message.role[:40]!r})",
            param=f"{at}.role",
        )
    for i, part in enumerate(message.content if isinstance(message.content, list) else ()):
        if part.type not in ("text", "refusal"):
            raise BadRequestError(
                f"{at}.content.{i}.type: programs see text only (got {part.type[:40]!r}); send it "
                "to the model itself, not to `cap`",
                param=f"{at}.content.{i}.type",
            )
    if (message.model_extra or {}).get("tool_calls"):
        raise BadRequestError(f"{at}.tool_calls: tools cannot be refined", param=f"{at}.tool_calls")
    return Turn(role, message.text())

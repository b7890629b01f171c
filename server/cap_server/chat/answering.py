"""The answer to a conversation: a chat model's, corrected where programs show that it is wrong.

Whether there is anything to refine is decided by evidence: the answer states a result, and programs
come to one. All else passes through as the model wrote it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from cap_server import answers
from cap_server.chat.conversation import Conversation
from cap_server.chat.wording import worded
from cap_server.domain import Answer, Candidate, ChatReply, Prior, Problem, Refinement
from cap_server.errors import DeadlineError, UnresolvedError
from cap_server.events import Drawn, Tell
from cap_server.ports import ChatModel

Refine = Callable[[Problem, Tell], Awaitable[Refinement]]


@dataclass(frozen=True, slots=True)
class Asked:
    """What a client asks of `cap`.

    Attributes:
        request: the chat completion's request, for the model that answers first.
        choices: the options of a multiple-choice question.
        answer: the answer of the CoT that the conversation ends with, where the client knows it.
        source: who wrote that CoT.
        deadline_s: seconds for the model's answer and its refinement together.
    """

    conversation: Conversation
    request: Mapping[str, Any]
    choices: tuple[str, ...] = ()
    answer: Answer | None = None
    source: str | None = None
    deadline_s: float = 60.0


@dataclass(frozen=True, slots=True)
class Reply:
    """Attributes:
    refinement: None where there was nothing to refine.
    chat: the model's answer; it wrote none where the conversation held one, or nobody writes any.
    """

    text: str
    finish_reason: str
    refinement: Refinement | None = None
    chat: ChatReply = field(default_factory=lambda: ChatReply(""))


async def answer(asked: Asked, *, writer: ChatModel | None, refine: Refine, tell: Tell) -> Reply:
    """Answer the last message of a conversation, or refine the answer that it holds.

    Args:
        asked: what is asked.
        writer: answers where the conversation holds no answer yet; None where nobody does.
        refine: given the problem, and what to tell with.
        tell: called with what happens. An answer that there is nothing to refine in is not told.

    Raises:
        UnresolvedError: there is neither an answer to return nor a program that came to one.
        CapError: a model or the sandbox failed.
    """
    cot = asked.conversation.cot
    if cot is not None:
        return await _refined(asked, ChatReply(cot), source=asked.source, refine=refine, tell=tell)
    if writer is None:
        return await _worked_out(asked, refine=refine, tell=tell)
    chat = await _written(asked, writer)
    if chat.finish_reason != "stop":  # it was cut off, or calls a tool
        return Reply(chat.text, chat.finish_reason, chat=chat)
    return await _refined(asked, chat, source=writer.name, refine=refine, tell=tell)


async def _written(asked: Asked, writer: ChatModel) -> ChatReply:
    try:
        async with asyncio.timeout(asked.deadline_s):
            return await writer.complete(asked.request)
    except TimeoutError:
        raise DeadlineError(
            f"The model did not answer within the deadline of {asked.deadline_s:g} s.",
            param="cap.budget.deadline_s",
        ) from None


async def _refined(
    asked: Asked, chat: ChatReply, *, source: str | None, refine: Refine, tell: Tell
) -> Reply:
    if asked.answer is None and answers.stated(chat.text, choices=asked.choices) is None:
        return Reply(chat.text, chat.finish_reason, chat=chat)
    if asked.conversation.cot is None:
        tell(Drawn(Candidate("cot", 0, chat.text)))
    prior = Prior(chat.text, asked.answer, source)
    problem = Problem(asked.conversation.question, asked.choices, prior)
    refinement = await refine(problem, tell)
    if refinement.decision == "corrected" and refinement.answer is not None:
        text = worded(refinement.answer, like=chat.text)
        return Reply(text, "stop", refinement, chat)
    return Reply(chat.text, chat.finish_reason, refinement, chat)


async def _worked_out(asked: Asked, *, refine: Refine, tell: Tell) -> Reply:
    question = asked.conversation.question
    refinement = await refine(Problem(question, asked.choices), tell)
    if refinement.answer is None:
        raise UnresolvedError(
            "No program came to an answer, and this server has no model that writes others "
            "(CAP_COT_MODEL). Send the answer to refine as the assistant's message."
        )
    return Reply(worded(refinement.answer, like=question), "stop", refinement)

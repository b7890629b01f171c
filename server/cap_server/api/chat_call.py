"""One request for refined answers, from its terms to its replies."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from cap_server.api.chat_in import CapIn, ChatIn, conversation_of, refuse_what_cannot_be_refined
from cap_server.api.house import House
from cap_server.api.refinement import RefinementOut, new_id
from cap_server.api.terms import refined
from cap_server.chat import Asked, Reply, answer
from cap_server.domain import Answer, Problem, Refinement
from cap_server.errors import CapError
from cap_server.events import Event, Tell

_NOT_GENERATION = {
    "model", "messages", "n", "stream", "stream_options", "seed", "user", "metadata", "store",
    "tools", "tool_choice", "response_format", "modalities", "logprobs", "top_logprobs",
}  # fmt: skip
"""Fields that say nothing about how a text is drawn, or were found to say nothing."""

TellOne = Callable[[tuple[int, Event | Reply]], None]
"""Told with the number of the choice that it is about."""


@dataclass(frozen=True, slots=True)
class ChatCall:
    body: ChatIn
    terms: CapIn
    asked: Asked
    house: House
    tenant: str

    @classmethod
    def of(cls, body: ChatIn, terms: CapIn, *, house: House, tenant: str) -> ChatCall:
        """The call, with everything checked that can be before anything is spent.

        Raises:
            BadRequestError: it asks for what cannot be refined.
        """
        refuse_what_cannot_be_refined(body)
        asked = Asked(
            conversation_of(body),
            request={},
            choices=tuple(terms.choices or ()),
            answer=None if terms.answer is None else Answer(terms.answer),
            source=terms.source,
            deadline_s=terms.budget.deadline_s,
        )
        return cls(body, terms, asked, house, tenant)

    async def replies(self, tell: TellOne) -> list[Reply]:
        """The answers for all choices; each is told when it is there, after what led to it.

        Raises:
            CapError: see `chat.answer`; the first failure ends all.
        """

        async def one(index: int) -> Reply:
            reply = await self._reply(index, lambda event: tell((index, event)))
            tell((index, reply))
            return reply

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(one(i)) for i in range(self.body.n or 1)]
        except* CapError as errors:
            raise errors.exceptions[0] from None
        return [task.result() for task in tasks]

    def refinement(self, reply: Reply) -> RefinementOut | None:
        """The evidence for `reply`, as it is sent; None where there was nothing to refine."""
        if reply.refinement is None:
            return None
        warnings = (*reply.refinement.warnings, *self._unheard(reply))
        told = replace(reply.refinement, warnings=warnings)
        model = self.house.tools.model.name
        return RefinementOut.of(told, self.terms, model=model, id_=new_id())

    async def _reply(self, index: int, tell: Tell) -> Reply:
        ends = time.monotonic() + self.asked.deadline_s

        async def refine(problem: Problem, tell: Tell) -> Refinement:
            left = max(0.01, ends - time.monotonic())
            budget = self.terms.budget.model_copy(update={"deadline_s": left})
            terms = self.terms.model_copy(update={"budget": budget})
            return await refined(problem, terms, house=self.house, tenant=self.tenant, tell=tell)

        asked = replace(self.asked, request=self.body.for_one_answer(index))
        writer = self.house.tools.chat_writer
        return await answer(asked, writer=writer, refine=refine, tell=tell)

    def _unheard(self, reply: Reply) -> list[str]:
        """What the request says about drawing an answer, where none was drawn."""
        names = sorted(set(self.body.forwarded()) - _NOT_GENERATION)
        if not names or reply.chat.content:
            return []
        return [
            f"{', '.join(names)}: no answer was drawn to apply this to; `cap.sampling` says how "
            "programs are drawn."
        ]

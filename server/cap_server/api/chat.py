"""`POST /v1/chat/completions`: OpenAI's, with answers corrected on the way."""

from __future__ import annotations

import time
import uuid
from contextlib import aclosing

from fastapi import APIRouter, Depends, Request, Response

from cap_server.api.chat_call import ChatCall
from cap_server.api.chat_in import ChatIn
from cap_server.api.chat_out import (
    ChoiceOut,
    ChunkChoiceOut,
    ChunkOut,
    CompletionOut,
    DeltaOut,
    MessageOut,
    UsageOut,
)
from cap_server.api.chat_terms import cap_models, is_cap, terms_of
from cap_server.api.errors import POSTING, documented
from cap_server.api.event_stream import Frames, documented_stream, event_stream, frame
from cap_server.api.gone import unless_gone
from cap_server.api.house import House, InHouse, Tenant, authorized
from cap_server.api.json_body import JSONRoute
from cap_server.chat import Reply, thought
from cap_server.errors import BadRequestError, ModelNotFoundError
from cap_server.events import Event, told
from cap_server.ports import ChatModel

router = APIRouter(
    prefix="/v1", tags=["chat"], dependencies=[Depends(authorized)], route_class=JSONRoute
)

_STREAM = documented_stream("The completion; with `stream`, its chunks.")


@router.post(
    "/chat/completions",
    response_model=CompletionOut,
    responses=documented(*POSTING, 404, 502, 503, 504) | _STREAM,
)
async def completions(
    body: ChatIn, house: InHouse, tenant: Tenant, request: Request
) -> CompletionOut | Response:
    """Answer the last message; or refine the answer that the conversation ends with."""
    terms = terms_of(body) if is_cap(body.model) else None
    if terms is None:
        return await _passed_through(body, _own_model(body, house), request)
    call = ChatCall.of(body, terms, house=house, tenant=tenant)
    completion = _Completion(call)
    if body.stream:
        return await event_stream(request, completion.chunks())
    return await unless_gone(request, completion.whole())


def _own_model(body: ChatIn, house: House) -> ChatModel:
    """The upstream's model that answers by itself.

    Raises:
        ModelNotFoundError: there is none of this name.
        BadRequestError: the request says how to refine, and asks for a model that does not.
    """
    models, writer = house.tools.chat_models, house.tools.chat_writer
    if is_cap(body.model):  # and not to be refined
        if writer is None:
            message = "optillm_approach: this server has no model that answers unrefined"
            raise BadRequestError(f"{message} (CAP_COT_MODEL)", param="optillm_approach")
        return writer
    if body.model not in models:
        names = ", ".join([*cap_models(), *models])
        raise ModelNotFoundError(
            f"There is no model {body.model[:80]!r}; there are {names}.", param="model"
        )
    for name in ("cap", "budget", "optillm_approach"):
        if getattr(body, name) not in (None, "none"):
            raise BadRequestError(
                f"{name}: {body.model} answers unrefined; ask for `cap`", param=name
            )
    return models[body.model]


async def _passed_through(body: ChatIn, model: ChatModel, request: Request) -> Response:
    """What the upstream answers, byte for byte."""
    forwarded = body.forwarded()
    if body.stream:
        return await event_stream(request, model.stream(forwarded), end=b"")
    reply = await unless_gone(request, model.complete(forwarded))
    return Response(reply.content, media_type="application/json")


class _Completion:
    """A call's replies in OpenAI's shape, whole or in chunks."""

    def __init__(self, call: ChatCall) -> None:
        self._call = call
        self._id = f"chatcmpl-{uuid.uuid4().hex}"
        self._created = int(time.time())
        self._model = call.body.model

    async def whole(self) -> CompletionOut:
        thoughts: dict[int, str] = {}

        def tell(told: tuple[int, Event | Reply]) -> None:
            thoughts[told[0]] = thoughts.get(told[0], "") + thought(told[1])

        replies = await self._call.replies(tell)
        return CompletionOut(
            id=self._id,
            created=self._created,
            model=self._model,
            choices=[
                self._choice(index, reply, thoughts[index]) for index, reply in enumerate(replies)
            ],
            usage=UsageOut.of(replies),
        )

    async def chunks(self) -> Frames:
        begun: set[int] = set()
        async with aclosing(told(self._call.replies)) as events:
            async for event in events:
                if isinstance(event, list):
                    options = self._call.body.stream_options
                    if options is not None and options.include_usage:
                        yield self._chunk(usage=UsageOut.of(event))
                    continue
                index, what = event
                if index not in begun:
                    begun.add(index)
                    yield self._delta(index, DeltaOut(role="assistant", content=""))
                if text := thought(what):
                    yield self._delta(index, DeltaOut(reasoning_content=text))
                if isinstance(what, Reply):
                    if what.text:
                        yield self._delta(index, DeltaOut(content=what.text))
                    yield self._last(index, what)

    def _choice(self, index: int, reply: Reply, thoughts: str) -> ChoiceOut:
        return ChoiceOut(
            index=index,
            message=MessageOut(content=reply.text, reasoning_content=thoughts or None),
            finish_reason=reply.finish_reason,
            cap=self._call.refinement(reply),
        )

    def _delta(self, index: int, delta: DeltaOut) -> bytes:
        return self._chunk(ChunkChoiceOut(index=index, delta=delta))

    def _last(self, index: int, reply: Reply) -> bytes:
        refinement = self._call.refinement(reply)
        return self._chunk(
            ChunkChoiceOut(
                index=index, delta=DeltaOut(), finish_reason=reply.finish_reason, cap=refinement
            )
        )

    def _chunk(self, *choices: ChunkChoiceOut, usage: UsageOut | None = None) -> bytes:
        return frame(
            ChunkOut(
                id=self._id,
                created=self._created,
                model=self._model,
                choices=list(choices),
                usage=usage,
            )
        )

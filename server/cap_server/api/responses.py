"""`POST /v1/responses`: OpenAI's Responses API, for text."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from contextlib import aclosing
from typing import Any

from fastapi import APIRouter, Depends, Request, Response

from cap_server.api.chat_call import ChatCall
from cap_server.api.chat_terms import cap_models, is_cap, terms_of
from cap_server.api.errors import POSTING, documented
from cap_server.api.event_stream import Frames, documented_stream, event_stream
from cap_server.api.gone import unless_gone
from cap_server.api.house import InHouse, Tenant, authorized
from cap_server.api.json_body import JSONRoute
from cap_server.api.responses_in import ResponsesIn
from cap_server.api.responses_out import (
    CodeOut,
    IncompleteOut,
    Item,
    MessageItemOut,
    ReasoningOut,
    ResponseOut,
    ResponseUsageOut,
    items,
)
from cap_server.chat import Reply, thought
from cap_server.errors import ModelNotFoundError
from cap_server.events import Event, told

router = APIRouter(
    prefix="/v1", tags=["chat"], dependencies=[Depends(authorized)], route_class=JSONRoute
)

_STREAM = documented_stream("The response; with `stream`, its events.")


@router.post(
    "/responses",
    response_model=ResponseOut,
    responses=documented(*POSTING, 404, 502, 503, 504) | _STREAM,
)
async def responses(
    body: ResponsesIn, house: InHouse, tenant: Tenant, request: Request
) -> ResponseOut | Response:
    """Answer a text, or refine the answer that the input ends with."""
    if not is_cap(body.model):
        raise ModelNotFoundError(
            f"This route refines: the model is one of {', '.join(cap_models())}. The upstream's "
            "own models answer at /v1/chat/completions.",
            param="model",
        )
    chat = body.as_chat()
    terms = terms_of(chat)
    assert terms is not None, "there is no optillm_approach to leave it unrefined"
    call = ChatCall.of(chat, terms, house=house, tenant=tenant)
    response = _Responding(body, call)
    if body.stream:
        return await event_stream(request, response.events(), error_event="error", end=b"")
    return await unless_gone(request, response.whole())


class _Responding:
    """One call's reply in the Responses API's shape, whole or as events."""

    def __init__(self, body: ResponsesIn, call: ChatCall) -> None:
        self._call = call
        self._told = 0
        self._empty = ResponseOut(
            id=f"resp_{uuid.uuid4().hex}",
            created_at=int(time.time()),
            status="in_progress",
            model=body.model,
            output=[],
            instructions=body.instructions,
            metadata=body.metadata or {},
            temperature=body.temperature,
            top_p=body.top_p,
            max_output_tokens=body.max_output_tokens,
        )

    async def whole(self) -> ResponseOut:
        thoughts: list[str] = []

        def tell(told: tuple[int, Event | Reply]) -> None:
            thoughts.append(thought(told[1]))

        [reply] = await self._call.replies(tell)
        return self._completed(reply, "".join(thoughts))

    async def events(self) -> Frames:
        """Thoughts as they come, then the program and the message."""
        thoughts: list[str] = []
        reasoning = ReasoningOut(id=f"rs_{uuid.uuid4().hex}", summary=[])
        begun = False
        async with aclosing(told(self._call.replies)) as happened:
            async for event in happened:
                if not begun:
                    begun = True
                    for name in ("response.created", "response.in_progress"):
                        yield self._event(name, response=_dumped(self._empty))
                if isinstance(event, list):
                    completed = self._completed(event[0], "".join(thoughts))
                    for frame in self._rest(completed, reasoning):
                        yield frame
                elif text := thought(event[1]):
                    if not thoughts:
                        for frame in self._begin_reasoning(reasoning):
                            yield frame
                    thoughts.append(text)
                    yield self._event(
                        "response.reasoning_summary_text.delta",
                        **_at(reasoning.id, 0),
                        summary_index=0,
                        delta=text,
                    )

    def _completed(self, reply: Reply, thoughts: str) -> ResponseOut:
        refinement = self._call.refinement(reply)
        cut_off = reply.finish_reason == "length"
        return self._empty.model_copy(
            update={
                "status": "incomplete" if cut_off else "completed",
                "incomplete_details": IncompleteOut(reason="max_output_tokens")
                if cut_off
                else None,
                "output": items(reply, refinement, thoughts),
                "usage": ResponseUsageOut.of(reply),
                "cap": refinement,
            }
        )

    def _begin_reasoning(self, reasoning: ReasoningOut) -> Iterator[bytes]:
        item = {**_dumped(reasoning), "status": "in_progress"}
        yield self._event("response.output_item.added", output_index=0, item=item)
        part = {"type": "summary_text", "text": ""}
        name = "response.reasoning_summary_part.added"
        yield self._event(name, **_at(reasoning.id, 0), summary_index=0, part=part)

    def _rest(self, completed: ResponseOut, reasoning: ReasoningOut) -> Iterator[bytes]:
        """All that follows the last thought."""
        for index, item in enumerate(completed.output):
            if isinstance(item, ReasoningOut):
                item.id = reasoning.id  # under which it was begun
                yield from self._end_reasoning(item)
            else:
                yield from self._item(index, item)
        yield self._event(f"response.{completed.status}", response=_dumped(completed))

    def _end_reasoning(self, item: ReasoningOut) -> Iterator[bytes]:
        at, text = _at(item.id, 0), item.summary[0].text
        name = "response.reasoning_summary_text.done"
        yield self._event(name, **at, summary_index=0, text=text)
        name, part = "response.reasoning_summary_part.done", _dumped(item.summary[0])
        yield self._event(name, **at, summary_index=0, part=part)
        yield self._event("response.output_item.done", output_index=0, item=_dumped(item))

    def _item(self, index: int, item: Item) -> Iterator[bytes]:
        begun = {**_dumped(item), "status": "in_progress"}
        begun |= {"code": "", "outputs": []} if isinstance(item, CodeOut) else {"content": []}
        yield self._event("response.output_item.added", output_index=index, item=begun)
        if isinstance(item, CodeOut):
            yield from self._code(index, item)
        elif isinstance(item, MessageItemOut):
            yield from self._text(index, item)
        yield self._event("response.output_item.done", output_index=index, item=_dumped(item))

    def _code(self, index: int, item: CodeOut) -> Iterator[bytes]:
        at, call = _at(item.id, index), "response.code_interpreter_call"
        yield self._event(f"{call}.in_progress", **at)
        yield self._event(f"{call}_code.delta", **at, delta=item.code)
        yield self._event(f"{call}_code.done", **at, code=item.code)
        yield self._event(f"{call}.interpreting", **at)
        yield self._event(f"{call}.completed", **at)

    def _text(self, index: int, item: MessageItemOut) -> Iterator[bytes]:
        at, part = {**_at(item.id, index), "content_index": 0}, _dumped(item.content[0])
        yield self._event("response.content_part.added", **at, part={**part, "text": ""})
        text = item.content[0].text
        yield self._event("response.output_text.delta", **at, delta=text, logprobs=[])
        yield self._event("response.output_text.done", **at, text=text, logprobs=[])
        yield self._event("response.content_part.done", **at, part=part)

    def _event(self, name: str, **fields: object) -> bytes:
        data = {"type": name, "sequence_number": self._told, **fields}
        self._told += 1
        return f"event: {name}\ndata: {json.dumps(data)}\n\n".encode()


def _at(item_id: str, output_index: int) -> dict[str, Any]:
    return {"item_id": item_id, "output_index": output_index}


def _dumped(model: Any) -> dict[str, Any]:  # noqa: ANN401  any of the models above
    dumped: dict[str, Any] = model.model_dump(mode="json")
    return dumped

"""`POST /v1/refine`: a question and an answer in, the refinement out."""

from __future__ import annotations

from contextlib import aclosing

from fastapi import APIRouter, Depends, Request, Response
from pydantic import Field

from cap_server import domain
from cap_server.api.errors import POSTING, documented
from cap_server.api.event_stream import Frames, documented_stream, event_stream, frame
from cap_server.api.gone import unless_gone
from cap_server.api.house import House, InHouse, Tenant, authorized
from cap_server.api.json_body import JSONRoute
from cap_server.api.problem import ProblemIn
from cap_server.api.refine_events import event_out
from cap_server.api.refinement import RefinementOut, new_id
from cap_server.api.terms import TermsIn, refined
from cap_server.events import Tell, told

router = APIRouter(
    prefix="/v1", tags=["refine"], dependencies=[Depends(authorized)], route_class=JSONRoute
)


class RefineIn(TermsIn, ProblemIn):
    stream: bool = Field(False, description="Send what happens as it happens; `docs/api.md`.")


_STREAM = documented_stream("The refinement; with `stream`, its events.")


@router.post(
    "/refine",
    response_model=RefinementOut,
    responses=documented(*POSTING, 502, 503, 504) | _STREAM,
)
async def refine_(
    body: RefineIn, house: InHouse, tenant: Tenant, request: Request
) -> RefinementOut | Response:
    """Refine the answer to a question by programs that work it out."""
    id_, model = new_id(), house.tools.model.name
    if body.stream:
        frames = _frames(body, house=house, tenant=tenant, id_=id_)
        return await event_stream(request, frames, error_event="error")
    refining = refined(body.problem(), body, house=house, tenant=tenant)
    return RefinementOut.of(await unless_gone(request, refining), body, model=model, id_=id_)


async def _frames(body: RefineIn, *, house: House, tenant: str, id_: str) -> Frames:
    async def work(tell: Tell) -> domain.Refinement:
        return await refined(body.problem(), body, house=house, tenant=tenant, tell=tell)

    async with aclosing(told(work)) as events:
        async for event in events:
            if isinstance(event, domain.Refinement):
                model = house.tools.model.name
                yield frame(RefinementOut.of(event, body, model=model, id_=id_), event="decision")
            else:
                name, data = event_out(event, id_=id_)
                yield frame(data, event=name)

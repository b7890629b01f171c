"""`POST /v1/execute`: run a program in the sandbox, as refinements do."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Request
from pydantic import Field

from cap_server.api.errors import POSTING, documented
from cap_server.api.gone import unless_gone
from cap_server.api.house import InHouse, may_execute
from cap_server.api.json_body import JSONRoute
from cap_server.api.wire import ExecutionOut, LimitsIn, Text
from cap_server.api.wire import Request as WireRequest

router = APIRouter(
    prefix="/v1", tags=["execute"], dependencies=[Depends(may_execute)], route_class=JSONRoute
)


class ExecuteIn(WireRequest):
    program: Text = Field(description="Python; it leaves its result in `answer`.")
    limits: LimitsIn = Field(default_factory=LimitsIn)


@router.post("/execute", responses=documented(*POSTING, 403))
async def execute(body: ExecuteIn, house: InHouse, request: Request) -> ExecutionOut:
    """Run a program. Whatever it does wrong is told in the execution, with status 200."""
    running = house.tools.sandbox.execute(body.program, limits=body.limits.to_domain())
    return ExecutionOut.of(await unless_gone(request, running))

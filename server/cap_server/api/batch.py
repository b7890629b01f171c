"""`POST /v1/refine/batch`: many problems in, one line out for each, as they end."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal

import structlog
from fastapi import APIRouter, Depends, Header, Request, Response
from pydantic import BaseModel, Field, GetCoreSchemaHandler, ValidationError
from pydantic_core import CoreSchema, core_schema

from cap_server.api.door import Caller
from cap_server.api.errors import (
    INTERNAL,
    POSTING,
    Fault,
    Responses,
    documented,
    error_out,
    invalid_fields,
)
from cap_server.api.house import Called, House, InHouse, authorized
from cap_server.api.json_body import JSONRoute
from cap_server.api.lines import Lines, LinesResponse
from cap_server.api.problem import ProblemIn
from cap_server.api.refinement import RefinementOut, new_id
from cap_server.api.terms import TermsIn, refined
from cap_server.batches.batches import Reading
from cap_server.batches.item import Item, Name
from cap_server.domain import Usage
from cap_server.errors import CapError, UnauthorizedError

router = APIRouter(
    prefix="/v1", tags=["refine"], dependencies=[Depends(authorized)], route_class=JSONRoute
)

_MOST_PROBLEMS = 1000

_log = structlog.get_logger(__name__)

CustomId = Annotated[str, Field(max_length=200)]


class BatchProblemIn(ProblemIn):
    custom_id: CustomId | None = Field(
        None, description="The client's name for the problem; its item repeats it."
    )


@dataclass(frozen=True, slots=True)
class _Refused:
    """A problem that is none, and why: its faults as pydantic tells them."""

    custom_id: str | None
    faults: Sequence[Mapping[str, Any]]


class _OrRefused:
    """Documents a problem, and lets what is none be an item's error instead of the request's."""

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        problem = handler.generate_schema(BatchProblemIn)
        return core_schema.no_info_wrap_validator_function(_or_refused, problem)


def _or_refused(
    value: object, handler: core_schema.ValidatorFunctionWrapHandler
) -> BatchProblemIn | _Refused:
    try:
        problem: BatchProblemIn = handler(value)
    except ValidationError as error:
        custom_id = value.get("custom_id") if isinstance(value, dict) else None
        named = custom_id if isinstance(custom_id, str) and len(custom_id) <= 200 else None
        return _Refused(named, error.errors(include_url=False))
    return problem


class BatchIn(TermsIn):
    problems: list[Annotated[BatchProblemIn | _Refused, _OrRefused]] = Field(
        min_length=1,
        max_length=_MOST_PROBLEMS,
        description="Each is refined on the same terms. One that is malformed is one item's error.",
    )


class BatchItemOut(BaseModel):
    object: Literal["refinement.batch.item"] = "refinement.batch.item"
    index: int = Field(description="The problem's place in the request, from 0.")
    custom_id: str | None
    status: int = Field(description="As the problem alone would have been answered with.")
    refinement: RefinementOut | None
    error: Fault | None


class BatchOut(BaseModel):
    """The last line: without it the answer is not whole."""

    object: Literal["refinement.batch"] = "refinement.batch"
    id: str
    problems: int
    failed: int = Field(description="Items with an error.")
    usage: Usage = Field(description="Of all items, added up.")


IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        pattern=r"^[\x20-\x7e]+$",
        description="A name for this batch. Sent again with the same body, it continues: finished "
        "items come at once, and nothing is paid twice.",
    ),
]


def _inline(model: type[BaseModel]) -> dict[str, Any]:
    """The model's schema; what it refers to is documented by other routes."""
    refs = "#/components/schemas/{model}"
    schema = model.model_json_schema(mode="serialization", ref_template=refs)
    return {name: value for name, value in schema.items() if name != "$defs"}


_LINES: Responses = {
    200: {
        "description": "A line for each problem, and one for the batch.",
        "content": {
            "application/x-ndjson": {
                "schema": {"anyOf": [_inline(BatchItemOut), _inline(BatchOut)]}
            }
        },
    }
}


@router.post(
    "/refine/batch",
    response_class=Response,
    responses=documented(*POSTING, 409) | _LINES,
)
async def refine_batch(
    body: BatchIn,
    house: InHouse,
    caller: Called,
    request: Request,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Refine up to 1,000 problems; their items come in the order in which they end."""
    name = None
    if idempotency_key is not None:
        asked = hashlib.sha256(await request.body()).hexdigest()
        name = Name(caller.tenant, idempotency_key, asked)
    work = partial(_item, body=body, house=house, caller=caller)
    reading = await house.batches.open(len(body.problems), work=work, name=name)
    return LinesResponse(_lines(reading, len(body.problems)), left=reading.leave)


async def _lines(reading: Reading, size: int) -> Lines:
    usage, sent, failed = Usage(), 0, 0
    async for item in reading.items():
        usage += item.usage
        sent += 1
        failed += item.status != 200
        yield item.line
    if sent == size:
        yield _line(BatchOut(id=reading.id, problems=size, failed=failed, usage=usage))


async def _item(index: int, *, covered: bool, body: BatchIn, house: House, caller: Caller) -> Item:
    given = body.problems[index]
    try:
        refinement = await _refinement(
            index, given, covered=covered, body=body, house=house, caller=caller
        )
        out = BatchItemOut(
            index=index, custom_id=given.custom_id, status=200, refinement=refinement, error=None
        )
        return Item(index, 200, _line(out), refinement.usage)
    except CapError as error:
        return _failed(index, given, error)
    except Exception as error:  # noqa: BLE001  # the boundary: the other items go on
        _log.error("fault", exc_info=error)
        return _failed(index, given, CapError(INTERNAL))


async def _refinement(
    index: int,
    given: BatchProblemIn | _Refused,
    *,
    covered: bool,
    body: BatchIn,
    house: House,
    caller: Caller,
) -> RefinementOut:
    if isinstance(given, _Refused):
        raise invalid_fields(given.faults, of=("body", "problems", index))
    async with house.turnstile.turn(caller.key, covered=covered):
        if caller.key is not None and not house.keyring.holds(caller.key):
            raise UnauthorizedError("This API key was revoked.")
        refinement = await refined(
            given.problem(), body, house=house, tenant=caller.tenant, patient=True
        )
    return RefinementOut.of(refinement, body, model=house.tools.model.name, id_=new_id())


def _failed(index: int, given: BatchProblemIn | _Refused, error: CapError) -> Item:
    out = BatchItemOut(
        index=index,
        custom_id=given.custom_id,
        status=error.status,
        refinement=None,
        error=error_out(error).error,
    )
    return Item(index, error.status, _line(out), Usage())


def _line(out: BaseModel) -> bytes:
    """JSON holds no line breaks."""
    return out.model_dump_json().encode() + b"\n"

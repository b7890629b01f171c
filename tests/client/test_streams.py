"""Streams and batches of both clients: order, ends, breaks and resuming."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest

from cap_client import (
    AsyncClient,
    CandidateEvent,
    Client,
    ExecutionEvent,
    InvalidRequestError,
    NotCapServerError,
    Progress,
    Refinement,
    Retries,
    StepEvent,
    UnavailableError,
    UnreachableError,
    UpstreamError,
)
from cap_server.testing import FakeSandbox, ScriptedModel
from tests.client.answers import CANDIDATE, EXECUTION, FAULT, REFINEMENT, STEP, item, summary
from tests.client.calling import Kind, called, refuses, sends, server_sent
from tests.server.benches import tools
from tests.server.conftest import listening_on, listening_with_batches
from tests.server.upstreams import Respond, upstream

pytestmark = pytest.mark.parametrize("kind", ["sync", "async"])


async def test_a_refinement_streams_from_end_to_end(kind: Kind) -> None:
    with listening_on(tools(ScriptedModel(["answer=18"]), FakeSandbox({"answer=18": 18}))) as url:
        events = await called(
            kind, url, lambda client: client.refine_stream("6 * 3?", strategy="single")
        )
    drawn, ran, *steps, refinement = events
    assert (drawn.candidate.text, drawn.candidate.execution) == ("answer=18", None)
    assert (ran.index, ran.answer, ran.execution.status) == (0, "18", "ok")
    assert {type(each) for each in steps} == {StepEvent}
    assert (refinement.decision, refinement.answer) == ("answered", "18")
    assert drawn.id == refinement.id


EVENTS: list[tuple[str, object]] = [
    ("candidate", {"object": "refinement.candidate", "id": "ref_1", "candidate": CANDIDATE}),
    ("of_next_year", {"something": "new"}),
    (
        "execution",
        {"object": "refinement.execution", "id": "ref_1", "kind": "program", "index": 0,
         "answer": "18", "execution": EXECUTION},
    ),
    ("step", {"object": "refinement.step", "id": "ref_1", "step": STEP}),
    ("decision", REFINEMENT),
]  # fmt: skip

PROBLEMS = [{"question": f"{i}?", "custom_id": f"p{i}", "cot": None} for i in range(4)]


def root(url: str) -> str:
    return url.removesuffix("/v1")


async def test_events_come_typed_and_in_order(kind: Kind) -> None:
    async with upstream(sends(server_sent(*EVENTS))) as seen:
        events = await called(kind, root(seen.url), lambda client: client.refine_stream("?"))
    assert [type(each) for each in events] == [
        CandidateEvent, ExecutionEvent, StepEvent, Refinement,
    ]  # fmt: skip
    assert events[1].execution.value.text == "18"
    assert seen.bodies == [{"question": "?", "stream": True}]


@pytest.mark.parametrize("short_of", [0, 99])
async def test_a_stream_that_broke_off_is_told_and_not_paid_again(
    kind: Kind, short_of: int
) -> None:
    cut = sends(server_sent(*EVENTS[:2], done=False), short_of=short_of)
    async with upstream(cut, sends(server_sent(*EVENTS))) as seen:
        with pytest.raises(UnreachableError):
            await called(kind, root(seen.url), lambda client: client.refine_stream("?"))
    assert len(seen.bodies) == 1


async def test_an_error_in_a_stream_is_raised_by_its_kind(kind: Kind) -> None:
    failing = sends(server_sent(EVENTS[0], ("error", {"error": FAULT})))
    async with upstream(failing) as seen:
        with pytest.raises(UpstreamError) as caught:
            await called(kind, root(seen.url), lambda client: client.refine_stream("?"))
    assert (caught.value.status, caught.value.code) == (None, "model_unavailable")
    assert len(seen.bodies) == 1


async def test_a_refusal_before_the_stream_began_is_tried_again(kind: Kind) -> None:
    async with upstream(refuses("503 No"), sends(server_sent(*EVENTS))) as seen:
        events = await called(kind, root(seen.url), lambda client: client.refine_stream("?"))
    assert isinstance(events[-1], Refinement)
    assert len(seen.bodies) == 2


async def test_leaving_a_stream_early_closes_the_connection(kind: Kind) -> None:
    async def first_event(writer: asyncio.StreamWriter) -> None:
        head = "HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n"
        writer.write((head + server_sent(EVENTS[0], done=False)).encode())
        await writer.drain()
        await asyncio.sleep(60)

    async with upstream(first_event) as seen:
        if kind == "sync":
            event = await asyncio.to_thread(_first, root(seen.url))
        else:
            async with (
                AsyncClient(root(seen.url)) as client,
                client.refine_stream("?") as events,
            ):
                event = await anext(events)
        async with asyncio.timeout(30):
            await seen.gone.wait()
    assert isinstance(event, CandidateEvent)


def _first(url: str) -> object:
    with Client(url) as client, client.refine_stream("?") as events:
        return next(events)


def lines(*of: dict[str, Any], short_of: int = 0) -> Respond:
    """A batch's answer, with heartbeats; its last line may lack its end."""
    text = "\n\n".join(map(json.dumps, of)) + "\n"
    return sends(text[:-9] if short_of else text, short_of=short_of)


async def batched(
    kind: Kind,
    script: Sequence[Respond],
    **given: Any,  # noqa: ANN401
) -> tuple[list[Any], list[Progress], Any]:
    progress: list[Progress] = []
    async with upstream(*script) as seen:
        items = await called(
            kind,
            root(seen.url),
            lambda client: client.batch(PROBLEMS, on_progress=progress.append, **given),
            retries=Retries(tries=4, first_s=0),
        )
    return items, progress, seen


async def test_a_batch_yields_items_as_they_are_done(kind: Kind) -> None:
    whole = lines(item(2), item(0, failed=True), item(1), item(3), summary(4, failed=1))
    items, progress, seen = await batched(kind, [whole], strategy="single", include=None)
    assert [each.index for each in items] == [2, 0, 1, 3]
    assert (items[1].status, items[1].error.code) == (503, "model_unavailable")
    assert items[0].refinement.answer == "18"
    assert progress == [Progress(4, 1, 0), Progress(4, 2, 1), Progress(4, 3, 1), Progress(4, 4, 1)]
    sent = [{"question": f"{i}?", "custom_id": f"p{i}"} for i in range(4)]
    assert seen.bodies == [{"problems": sent, "strategy": "single"}]


async def test_a_batch_goes_from_end_to_end_and_is_paid_once(kind: Kind) -> None:
    model = ScriptedModel(["answer=18"])
    given = tools(model, FakeSandbox({"answer=18": 18}))
    problems = [{"question": "6 * 3?", "custom_id": "p"}, {"question": " "}]

    def batch(client: Any) -> Any:  # noqa: ANN401
        return client.batch(problems, idempotency_key="mine", strategy="single")

    with listening_with_batches(given) as url:
        first, again = await called(kind, url, batch), await called(kind, url, batch)
    answered, refused = sorted(first, key=lambda item: item.index)
    assert (answered.custom_id, answered.refinement.answer) == ("p", "18")
    assert (refused.status, refused.error.param) == (422, "problems.1.question")
    assert sorted(again, key=lambda item: item.index) == [answered, refused]
    assert len(model.prompts) == 1


@pytest.mark.parametrize("short_of", [0, 99])
async def test_a_broken_batch_goes_on_with_its_key_and_yields_nothing_twice(
    kind: Kind, short_of: int
) -> None:
    script = [
        lines(item(2), item(0), short_of=short_of),
        refuses("503 No"),
        refuses("409 No", headers="Retry-After: 0\r\n", code="batch_in_progress"),
        lines(item(2), item(0), item(3), short_of=short_of),
        lines(item(0), item(1), item(2), item(3), summary(4)),
    ]
    items, _, seen = await batched(kind, script)
    assert sorted(each.index for each in items) == [0, 1, 2, 3]
    assert len(seen.bodies) == 5
    assert all(body == seen.bodies[0] for body in seen.bodies)
    keys = {line for head in seen.headers for line in head.split(b"\r\n") if b"dempotency" in line}
    assert len(keys) == 1


async def test_a_batch_that_does_not_move_on_is_given_up(kind: Kind) -> None:
    with pytest.raises(UnreachableError):
        await batched(kind, [lines(item(2), item(0)), lines(item(0), item(2))])


async def test_a_batch_is_refused_as_a_whole(kind: Kind) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        await batched(kind, [refuses("422 No", code="idempotency_key_reused")])
    assert caught.value.code == "idempotency_key_reused"
    with pytest.raises(UnavailableError):
        await batched(kind, [refuses("503 No")])


@pytest.mark.parametrize("index", [-1, 4])
async def test_an_item_that_nobody_asked_for_is_told(kind: Kind, index: int) -> None:
    with pytest.raises(NotCapServerError):
        await batched(kind, [lines(item(index), summary(4))])


async def test_a_batch_has_its_key_and_its_summary(kind: Kind) -> None:
    async with upstream(lines(item(0), summary(1))) as seen:
        if kind == "sync":
            batch: Any = await asyncio.to_thread(_read_whole, root(seen.url))
        else:
            async with AsyncClient(root(seen.url)) as client:
                batch = client.batch([{"question": "?"}], idempotency_key="mine")
                assert batch.summary is None
                assert len([each async for each in batch]) == 1
    assert batch.idempotency_key == "mine"
    assert (batch.summary.problems, batch.summary.usage.programs) == (1, 8)
    assert b"idempotency-key: mine\r\n" in seen.headers[0].lower()


def _read_whole(url: str) -> object:
    with Client(url) as client, client.batch([{"question": "?"}], idempotency_key="mine") as batch:
        assert batch.summary is None
        assert len(list(batch)) == 1
        return batch

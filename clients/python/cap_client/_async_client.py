"""`AsyncClient`: carries the flows of `_calls` out on an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from types import TracebackType
from typing import Any, Generic, Self, TypeVar, Unpack

import httpx

from cap_client import _calls
from cap_client._configuration import Configuration
from cap_client._errors import UnreachableError
from cap_client._flow import Emit, Flow, Head, Open, Read, Step
from cap_client._options import ChatOptions, Limits, Message, Problem, RefineOptions, SharedOptions
from cap_client._reading import Progress, Reading
from cap_client._results import (
    BatchItem,
    BatchSummary,
    ChatChunk,
    Event,
    Execution,
    Readiness,
    Refinement,
    Sources,
    Strategies,
)
from cap_client._retries import DEFAULT, Retries
from cap_client._transport import LIMITS, built, head_of, unreachable

T = TypeVar("T")


class AsyncStream(Generic[T]):
    """As `Stream`; leave it early by `async with` or `aclose`."""

    def __init__(self, coming: AsyncGenerator[T, None]) -> None:
        self._coming = coming

    def __aiter__(self) -> AsyncIterator[T]:
        return self

    async def __anext__(self) -> T:
        return await anext(self._coming)

    async def aclose(self) -> None:
        await self._coming.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()


class AsyncBatch(AsyncStream[BatchItem]):
    """As `Batch`."""

    def __init__(self, coming: AsyncGenerator[BatchItem, None], reading: Reading) -> None:
        super().__init__(coming)
        self._reading = reading
        self.idempotency_key = reading.idempotency_key

    @property
    def summary(self) -> BatchSummary | None:
        """What the batch came to; None until its last item has been read."""
        return self._reading.summary


class AsyncClient:
    """As `Client`, which says what everything means; its results are awaited.

    One client may serve any number of tasks of one event loop.
    """

    def __init__(
        self,
        base_url: str | None = None,
        api_key: str | None = None,
        *,
        timeout_s: float = 30.0,
        retries: Retries = DEFAULT,
        http: httpx.AsyncClient | None = None,
    ) -> None:
        self._of = Configuration.of(base_url, api_key, timeout_s=timeout_s, retries=retries)
        self._http = http or httpx.AsyncClient(limits=LIMITS)
        self._owned = http is None

    @property
    def base_url(self) -> str:
        """The server's root, without a slash at its end."""
        return self._of.base_url

    async def refine(self, question: str, **options: Unpack[RefineOptions]) -> Refinement:
        """As `Client.refine`."""
        return await self._whole(_calls.refine(self._of, question, **options))

    def refine_stream(self, question: str, **options: Unpack[RefineOptions]) -> AsyncStream[Event]:
        """As `Client.refine_stream`."""
        return AsyncStream(self._run(_calls.refine_stream(self._of, question, **options)))

    def chat_stream(
        self,
        messages: Iterable[Message],
        *,
        model: str = "cap",
        cap: ChatOptions | None = None,
        **fields: Any,  # noqa: ANN401  JSON
    ) -> AsyncStream[ChatChunk]:
        """As `Client.chat_stream`."""
        flow = _calls.chat_stream(self._of, messages, model=model, cap=cap, fields=fields)
        return AsyncStream(self._run(flow))

    def batch(
        self,
        problems: Iterable[Problem],
        *,
        idempotency_key: str | None = None,
        on_progress: Callable[[Progress], object] | None = None,
        **options: Unpack[SharedOptions],
    ) -> AsyncBatch:
        """As `Client.batch`; `on_progress` is a plain function here too."""
        asked = list(problems)
        reading = Reading(idempotency_key or _calls.new_key(), len(asked), on_progress)
        flow = _calls.batch(self._of, asked, reading=reading, **options)
        return AsyncBatch(self._run(flow), reading)

    async def execute(self, program: str, *, limits: Limits | None = None) -> Execution:
        """As `Client.execute`."""
        return await self._whole(_calls.execute(self._of, program, limits=limits))

    async def strategies(self) -> Strategies:
        """As `Client.strategies`."""
        return await self._whole(_calls.strategies(self._of))

    async def sources(self) -> Sources:
        """As `Client.sources`."""
        return await self._whole(_calls.sources(self._of))

    async def ready(self) -> Readiness:
        """As `Client.ready`."""
        return await self._whole(_calls.ready(self._of))

    async def aclose(self) -> None:
        if self._owned:
            await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def _whole(self, flow: Flow[T]) -> T:
        (result,) = [each async for each in self._run(flow)]
        return result

    async def _run(self, flow: Flow[T]) -> AsyncGenerator[T, None]:
        exchange = _Exchange(self._http, self._of)
        try:
            step = next(flow)
            while True:
                if isinstance(step, Emit):
                    yield step.value
                    step = next(flow)
                    continue
                try:
                    came = await exchange.carry_out(step)
                except UnreachableError as error:
                    step = flow.throw(error)
                else:
                    step = flow.send(came)
        except StopIteration:
            return
        finally:
            await exchange.aclose()


class _Exchange:
    """The answers that a flow opens, one at a time."""

    def __init__(self, http: httpx.AsyncClient, of: Configuration) -> None:
        self._http = http
        self._of = of
        self._response: httpx.Response | None = None
        self._body: AsyncIterator[bytes] | None = None

    async def carry_out(self, step: Step) -> Head | bytes | None:
        """Raises UnreachableError where the connection fails."""
        try:
            if isinstance(step, Open):
                return await self._open(step)
            if isinstance(step, Read):
                assert self._body is not None, "a flow reads what it has opened"
                return await anext(self._body, b"")
        except (httpx.RequestError, httpx.StreamError) as error:
            raise unreachable(error) from error
        await asyncio.sleep(step.seconds)
        return None

    async def _open(self, step: Open) -> Head:
        await self.aclose()
        request = built(step.request, self._http, self._of)
        self._response = await self._http.send(request, stream=True)
        self._body = self._response.aiter_bytes()
        return head_of(self._response)

    async def aclose(self) -> None:
        if self._response is not None:
            await self._response.aclose()

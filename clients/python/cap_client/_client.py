"""`Client`: carries the flows of `_calls` out, one step after the other."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Iterator
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


class Stream(Generic[T]):
    """Iterate over it. Leaving it early, by `with` or `close`, ends the work on the server."""

    def __init__(self, coming: Generator[T, None, None]) -> None:
        self._coming = coming

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        return next(self._coming)

    def close(self) -> None:
        self._coming.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class Batch(Stream[BatchItem]):
    """A batch's items, in the order in which they are done.

    Attributes:
        idempotency_key: goes on with this batch, from another process too.
    """

    def __init__(self, coming: Generator[BatchItem, None, None], reading: Reading) -> None:
        super().__init__(coming)
        self._reading = reading
        self.idempotency_key = reading.idempotency_key

    @property
    def summary(self) -> BatchSummary | None:
        """What the batch came to; None until its last item has been read."""
        return self._reading.summary


class Client:
    """A CaP server. One client may be used by several threads.

    Args:
        base_url: the server's root; `CAP_BASE_URL`, or else port 8000 here, where none is given.
        api_key: `CAP_API_KEY` where none is given.
        timeout_s: seconds of silence after which a connection counts as broken. A refinement's own
            deadline comes on top; streams send a heartbeat every 10 s.
        retries: when a call is sent again.
        http: sends the requests, for proxies, certificates and the like; it is not closed.

    Raises:
        ValueError: one of them cannot be right.
    """

    def __init__(
        self,
        base_url: str | None = None,
        api_key: str | None = None,
        *,
        timeout_s: float = 30.0,
        retries: Retries = DEFAULT,
        http: httpx.Client | None = None,
    ) -> None:
        self._of = Configuration.of(base_url, api_key, timeout_s=timeout_s, retries=retries)
        self._http = http or httpx.Client(limits=LIMITS)
        self._owned = http is None

    @property
    def base_url(self) -> str:
        """The server's root, without a slash at its end."""
        return self._of.base_url

    def refine(self, question: str, **options: Unpack[RefineOptions]) -> Refinement:
        """Refine the answer to `question` by programs that work it out.

        Raises:
            StatusError: the server refused or failed; its subclasses say which.
            UnreachableError: there is no server, or it fell silent.
            NotCapServerError: what answers is no CaP server.
        """
        return self._whole(_calls.refine(self._of, question, **options))

    def refine_stream(self, question: str, **options: Unpack[RefineOptions]) -> Stream[Event]:
        """Refine, and see every step as it happens; the refinement is the last event.

        Raises, when it is iterated over:
            CapError: as `refine`; after the first event nothing is tried again.
        """
        return Stream(self._run(_calls.refine_stream(self._of, question, **options)))

    def chat_stream(
        self,
        messages: Iterable[Message],
        *,
        model: str = "cap",
        cap: ChatOptions | None = None,
        **fields: Any,  # noqa: ANN401  JSON
    ) -> Stream[ChatChunk]:
        """Answer the last message of a conversation, refined; or refine the answer that ends it.

        For `n`, tools and all else use OpenAI's own client: the server speaks its protocol.

        Args:
            messages: the conversation so far.
            model: `cap`, `cap:STRATEGY`, or the name of an upstream's model, unrefined.
            cap: how the answer is refined.
            fields: OpenAI's further fields, such as `temperature`.

        Raises, when it is iterated over:
            CapError: as `refine`; after the first chunk nothing is tried again.
        """
        flow = _calls.chat_stream(self._of, messages, model=model, cap=cap, fields=fields)
        return Stream(self._run(flow))

    def batch(
        self,
        problems: Iterable[Problem],
        *,
        idempotency_key: str | None = None,
        on_progress: Callable[[Progress], object] | None = None,
        **options: Unpack[SharedOptions],
    ) -> Batch:
        """Refine up to 1,000 problems; each item has its own refinement or its own error.

        When the connection breaks, the batch goes on by itself and nothing is paid twice.

        Args:
            problems: a problem may carry a `custom_id`, which its item repeats.
            idempotency_key: that of a batch to go on with; a new one where none is given.
            on_progress: called after every item.
            options: how all of them are refined.

        Raises, when it is iterated over:
            CapError: as `refine`, where the batch as a whole failed.
        """
        asked = list(problems)
        reading = Reading(idempotency_key or _calls.new_key(), len(asked), on_progress)
        flow = _calls.batch(self._of, asked, reading=reading, **options)
        return Batch(self._run(flow), reading)

    def execute(self, program: str, *, limits: Limits | None = None) -> Execution:
        """Run `program` in the server's sandbox; what it does wrong is told in the execution."""
        return self._whole(_calls.execute(self._of, program, limits=limits))

    def strategies(self) -> Strategies:
        """What strategies there are, with their parameters."""
        return self._whole(_calls.strategies(self._of))

    def sources(self) -> Sources:
        """How good each source of CoTs proved to be."""
        return self._whole(_calls.sources(self._of))

    def ready(self) -> Readiness:
        """Whether a refinement would work now, and if not, why."""
        return self._whole(_calls.ready(self._of))

    def close(self) -> None:
        if self._owned:
            self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _whole(self, flow: Flow[T]) -> T:
        (result,) = self._run(flow)
        return result

    def _run(self, flow: Flow[T]) -> Generator[T, None, None]:
        exchange = _Exchange(self._http, self._of)
        try:
            step = next(flow)
            while True:
                if isinstance(step, Emit):
                    yield step.value
                    step = next(flow)
                    continue
                try:
                    came = exchange.carry_out(step)
                except UnreachableError as error:
                    step = flow.throw(error)
                else:
                    step = flow.send(came)
        except StopIteration:
            return
        finally:
            exchange.close()


class _Exchange:
    """The answers that a flow opens, one at a time."""

    def __init__(self, http: httpx.Client, of: Configuration) -> None:
        self._http = http
        self._of = of
        self._response: httpx.Response | None = None
        self._body: Iterator[bytes] = iter(())

    def carry_out(self, step: Step) -> Head | bytes | None:
        """Raises UnreachableError where the connection fails."""
        try:
            if isinstance(step, Open):
                return self._open(step)
            if isinstance(step, Read):
                return next(self._body, b"")
        except (httpx.RequestError, httpx.StreamError) as error:
            raise unreachable(error) from error
        time.sleep(step.seconds)
        return None

    def _open(self, step: Open) -> Head:
        self.close()
        request = built(step.request, self._http, self._of)
        self._response = self._http.send(request, stream=True)
        self._body = self._response.iter_bytes()
        return head_of(self._response)

    def close(self) -> None:
        if self._response is not None:
            self._response.close()

"""The parts that do no I/O: retries by a clock of the test's, lines and events cut anywhere."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cap_client import (
    CapError,
    Fault,
    InvalidRequestError,
    RateLimitError,
    Retries,
    UnavailableError,
    UnreachableError,
)
from cap_client._errors import error_of
from cap_client._lines import Events, Lines, ServerSentEvent
from cap_client._retries import Attempts

FAULT = Fault(message="", type="", param=None, code="")


class Clock:
    """Moves when the test says so."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def attempts(policy: Retries, *, free: bool = False, jitter: float = 1.0) -> tuple[Attempts, Clock]:
    clock = Clock()
    return Attempts(policy, free=free, clock=clock, jitter=lambda: jitter), clock


def busy(retry_after_s: float | None = None) -> RateLimitError:
    return RateLimitError(FAULT, status=429, retry_after_s=retry_after_s)


def test_waits_double_up_to_a_ceiling_and_are_drawn_from_nothing_to_all_of_it() -> None:
    policy = Retries(tries=6, first_s=1, longest_s=5)
    longest, _ = attempts(policy, jitter=1.0)
    shortest, _ = attempts(policy, jitter=0.0)
    assert [longest.wait_s(busy()) for _ in range(5)] == [1, 2, 4, 5, 5]
    assert [shortest.wait_s(busy()) for _ in range(5)] == [0] * 5


def test_no_try_comes_before_the_server_wants_it() -> None:
    policy = Retries(first_s=1)
    assert attempts(policy, jitter=0.0)[0].wait_s(busy(7)) == 7
    assert attempts(policy, jitter=0.5)[0].wait_s(busy(7)) == 7.5


def test_tries_are_counted() -> None:
    counted, _ = attempts(Retries(tries=3, first_s=0))
    counted.wait_s(busy())
    counted.wait_s(busy())
    with pytest.raises(RateLimitError):
        counted.wait_s(busy())
    counted.moved_on()
    counted.wait_s(busy())


def test_no_wait_outlasts_the_whole_time() -> None:
    timed, clock = attempts(Retries(within_s=10, first_s=0))
    with pytest.raises(RateLimitError):
        timed.wait_s(busy(11))
    clock.now_s += 9
    assert timed.wait_s(busy(1)) == 1
    clock.now_s += 2
    with pytest.raises(RateLimitError):
        timed.wait_s(busy())


@pytest.mark.parametrize(
    ("error", "free", "again"),
    [
        (busy(), False, True),
        (UnavailableError(FAULT, status=503), False, True),
        (UnavailableError(FAULT, status=None), False, False),
        (InvalidRequestError(FAULT, status=409, retry_after_s=5), False, True),
        (InvalidRequestError(FAULT, status=409), False, False),
        (UnreachableError("", sent=False), False, True),
        (UnreachableError("", sent=True), False, False),
        (UnreachableError("", sent=True), True, True),
        (CapError(), True, False),
    ],
)
def test_only_what_costs_nothing_is_sent_again(error: CapError, free: bool, again: bool) -> None:
    trying, _ = attempts(Retries(), free=free)
    if again:
        assert trying.wait_s(error) > 0
    else:
        with pytest.raises(type(error)):
            trying.wait_s(error)


def test_a_server_that_cannot_be_reached_is_left_alone_where_that_is_wanted() -> None:
    with pytest.raises(UnreachableError):
        attempts(Retries(unreachable=False))[0].wait_s(UnreachableError("", sent=False))


def test_a_policy_that_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Retries(tries=0)
    with pytest.raises(ValueError, match="negative"):
        Retries(first_s=-1)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 86_400),
        ("99999999999999999999", 86_400),
        ("-1", None),
        ("soon", None),
        ("", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str, seconds: float | None) -> None:
    body = b'{"error": {"message": "", "type": "", "param": null, "code": ""}}'
    error = error_of(429, {"retry-after": value}, body)
    assert isinstance(error, RateLimitError)
    assert error.retry_after_s == seconds


def cut(data: bytes, at: list[int]) -> list[bytes]:
    places = [0, *sorted(each % (len(data) + 1) for each in at), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(places)]


CUTS = st.lists(st.integers(0, 10_000), max_size=12)


@settings(deadline=None)
@given(st.lists(st.binary(max_size=20).filter(lambda b: not set(b) & set(b"\r\n"))), CUTS)
def test_lines_do_not_depend_on_how_they_came(lines: list[bytes], at: list[int]) -> None:
    data = b"".join(line + end for line, end in zip(lines, [b"\n", b"\r\n"] * 99, strict=False))
    read = Lines()
    assert [line for part in cut(data, at) for line in read.feed(part)] == lines[:198]


@settings(deadline=None)
@given(CUTS)
def test_events_do_not_depend_on_how_they_came(at: list[int]) -> None:
    data = (
        b": heartbeat\n\nevent: step\r\ndata: {\xc3\xa4\r\ndata:  1}\r\n\r\nretry: 5\nid: 1\n\n"
        b"data\n\ndata:[DONE]\n\nevent: lost\ndata: no empty line"
    )
    read = Events()
    assert [event for part in cut(data, at) for event in read.feed(part)] == [
        ServerSentEvent("step", b"{\xc3\xa4\n 1}"),
        ServerSentEvent("message", b""),
        ServerSentEvent("message", b"[DONE]"),
    ]

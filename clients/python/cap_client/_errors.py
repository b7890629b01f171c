"""What can go wrong with a call: one exception for each kind that a program would treat apart."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from pydantic import ValidationError

from cap_client._results import Failure, Fault

_LONGEST_RETRY_AFTER_S = 24 * 3600.0


class CapError(Exception):
    """Any failure of a call. Wrong use of this package is a ValueError or TypeError instead."""


class UnreachableError(CapError):
    """The server gave no answer, or the connection broke before it was whole.

    Attributes:
        sent: whether the request may have reached the server.
    """

    def __init__(self, message: str, *, sent: bool) -> None:
        super().__init__(message)
        self.sent = sent


class NotCapServerError(CapError):
    """What answered does not speak as a CaP server of this client's version does."""


class StatusError(CapError):
    """The server refused or failed.

    Attributes:
        status: of HTTP; None where the error came in a stream that had begun.
        message: the server's, for a person.
        code: the server's name of the error.
        type: the server's name of its kind.
        param: the field of the request that is to blame, dotted, or None.
        retry_after_s: seconds after which the server wants to be asked again, where it says.
        request_id: what the server's log calls the request, where it says.
    """

    def __init__(
        self,
        fault: Fault,
        *,
        status: int | None = None,
        retry_after_s: float | None = None,
        request_id: str | None = None,
    ) -> None:
        where = f"{status} " if status else ""
        super().__init__(f"{where}{fault.code}: {fault.message}")
        self.status = status
        self.message = fault.message
        self.code = fault.code
        self.type = fault.type
        self.param = fault.param
        self.retry_after_s = retry_after_s
        self.request_id = request_id


class InvalidRequestError(StatusError):
    """400, 404, 405, 408, 409, 413, 415, 422: another try of the same fails in the same way."""


class AuthenticationError(StatusError):
    """401, 403: the API key is missing, wrong, or not for this."""


class RateLimitError(StatusError):
    """429: more than the API key allows."""


class ServerError(StatusError):
    """500: the server has a fault, which its log tells."""


class UpstreamError(ServerError):
    """502: the model's server answered, but not with a completion."""


class UnavailableError(ServerError):
    """503: the model, the sandbox or a required critic is down, or the server is full."""


class DeadlineError(ServerError):
    """504: the request's deadline passed before there was any answer."""


_OF_STATUS: dict[int, type[StatusError]] = {
    401: AuthenticationError,
    403: AuthenticationError,
    429: RateLimitError,
    502: UpstreamError,
    503: UnavailableError,
    504: DeadlineError,
}

_OF_TYPE: dict[str, type[StatusError]] = {
    "authentication_error": AuthenticationError,
    "invalid_request_error": InvalidRequestError,
    "permission_error": AuthenticationError,
    "rate_limit_error": RateLimitError,
    "timeout_error": DeadlineError,
    "upstream_error": UpstreamError,
}


def error_of(status: int, headers: Mapping[str, str], body: bytes) -> CapError:
    """The exception for an answer that is none: `headers` in small letters."""
    try:
        fault = Failure.model_validate_json(body).error
    except ValidationError:
        return NotCapServerError(f"it answered with status {status}, not as a CaP server does")
    kind = _OF_STATUS.get(status, ServerError if status >= 500 else InvalidRequestError)
    return kind(
        fault,
        status=status,
        retry_after_s=_seconds(headers.get("retry-after")),
        request_id=headers.get("x-request-id"),
    )


def error_in_stream(data: bytes) -> StatusError:
    """The exception for an `error` event.

    Raises:
        ValidationError: `data` is none.
    """
    fault = Failure.model_validate_json(data).error
    return _OF_TYPE.get(fault.type, ServerError)(fault)


def _seconds(value: str | None) -> float | None:
    """`Retry-After`, which is seconds or a date (RFC 9110), as seconds from now."""
    if value is None:
        return None
    try:
        seconds = float(value) if value.strip().isdigit() else _until(value)
    except (ValueError, OverflowError):
        return None
    return min(max(0.0, seconds), _LONGEST_RETRY_AFTER_S)


def _until(date: str) -> float:
    at = parsedate_to_datetime(date)
    return ((at if at.tzinfo else at.replace(tzinfo=UTC)) - datetime.now(UTC)).total_seconds()

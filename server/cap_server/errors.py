"""Our own errors: each carries its facts, its code and its HTTP status. One handler maps them."""

from __future__ import annotations


class CapError(Exception):
    """Anything that ends a request.

    The message is written for the client: it holds no internals, no upstream's text, no secrets.

    Attributes:
        param: the request's field that is to blame, dotted (`budget.tokens`), or None.
        retry_after_s: seconds after which another try makes sense, or None.
    """

    status = 500
    code = "internal"
    type = "server_error"

    def __init__(
        self, message: str, *, param: str | None = None, retry_after_s: int | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.retry_after_s = retry_after_s


class InvalidRequestError(CapError):
    """The request's content cannot be served; `param` says which field."""

    status = 422
    code = "invalid_value"
    type = "invalid_request_error"


class BadRequestError(InvalidRequestError):
    """The same on the routes that speak as OpenAI's do."""

    status = 400


class PromptTooLongError(InvalidRequestError):
    """The question and CoT, with room for a completion, exceed the model's context."""

    status = 400
    code = "context_length_exceeded"


class UnauthorizedError(CapError):
    status = 401
    code = "invalid_api_key"
    type = "authentication_error"


class ForbiddenError(CapError):
    """The key is accepted, but lacks the right."""

    status = 403
    code = "forbidden"
    type = "permission_error"


class RateLimitedError(CapError):
    status = 429
    code = "rate_limited"
    type = "rate_limit_error"


class TooManyAtOnceError(RateLimitedError):
    code = "too_many_at_once"


class OverloadedError(RateLimitedError):
    """There is no room for the request, nor room for it to wait; nothing was spent on it."""

    code = "overloaded"
    type = "server_error"


class BodyTooLargeError(InvalidRequestError):
    status = 413
    code = "body_too_large"


class SlowBodyError(InvalidRequestError):
    status = 408
    code = "slow_body"


class MediaTypeError(InvalidRequestError):
    status = 415
    code = "unsupported_media_type"


class ModelResponseError(CapError):
    """The model's server answered, but not with a completion."""

    status = 502
    code = "model_response"
    type = "upstream_error"


class ModelUnavailableError(CapError):
    """The model's server does not answer, or says that it is overloaded."""

    status = 503
    code = "model_unavailable"
    type = "upstream_error"


class LogprobsUnavailableError(InvalidRequestError):
    """The upstream does not tell log-probabilities, and what was asked for needs them."""

    status = 400
    code = "logprobs_unavailable"


class CriticUnavailableError(CapError):
    """The critic that a strategy asks for does not answer, or is not configured."""

    status = 503
    code = "critic_unavailable"
    type = "upstream_error"


class SandboxUnavailableError(CapError):
    """The sandbox, not a program, failed."""

    status = 503
    code = "sandbox_unavailable"
    type = "server_error"


class StoreUnavailableError(CapError):
    """The database does not answer. Requests are served from memory meanwhile."""

    status = 503
    code = "store_unavailable"


class StoreUnusableError(StoreUnavailableError):
    """The database answers, and cannot be used: damaged, or a newer version's."""

    code = "store_unusable"


class EndingError(CapError):
    """The server ends, and the time that requests under way had is over."""

    status = 503
    code = "server_ends"


class NameTakenError(CapError):
    """Another key has this name."""

    status = 409
    code = "name_taken"
    type = "invalid_request_error"


class BatchMismatchError(InvalidRequestError):
    """The Idempotency-Key stands for another body."""

    code = "idempotency_key_reused"

    def __init__(self) -> None:
        super().__init__(
            "This Idempotency-Key was sent before, with another body.", param="Idempotency-Key"
        )


class BatchHeldError(CapError):
    """Another replica works on the batch."""

    status = 409
    code = "batch_in_progress"
    type = "invalid_request_error"


class DeadlineError(CapError):
    """The deadline passed before there was any answer to return."""

    status = 504
    code = "deadline"
    type = "timeout_error"


class ClientGoneError(CapError):
    """The client left before there was an answer."""

    status = 499
    code = "client_closed_request"
    type = "client_error"


class UnresolvedError(InvalidRequestError):
    """Nothing can be answered: there is no prior, and no program came to an answer."""

    code = "unresolved"


class ModelNotFoundError(InvalidRequestError):
    """The request names a model that this server does not offer."""

    status = 404
    code = "model_not_found"

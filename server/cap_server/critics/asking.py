"""Critics ask models; what goes wrong there is the critic's failure, not the request's."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TypeVar

from cap_server.errors import (
    CapError,
    CriticUnavailableError,
    LogprobsUnavailableError,
    PromptTooLongError,
)

T = TypeVar("T")


async def asking(question: Coroutine[None, None, T]) -> T:
    """The reply to `question`.

    Raises:
        CriticUnavailableError: the model failed, or the candidate does not fit its context.
        LogprobsUnavailableError: it does not tell log-probabilities.
    """
    try:
        return await question
    except LogprobsUnavailableError:
        raise
    except PromptTooLongError as error:
        raise CriticUnavailableError("A candidate is too long for the critic.") from error
    except CapError as error:
        raise CriticUnavailableError(
            "The critic cannot be asked.", retry_after_s=error.retry_after_s
        ) from error

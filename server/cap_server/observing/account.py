"""What one request came to: written down where it becomes known, read when the request ends.

The account travels in a context variable, so that tasks and threads that work for a request write
to the same one, and nothing between has to pass it on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from cap_server.domain import Usage

_current: ContextVar[Account | None] = ContextVar("account", default=None)


@dataclass
class Account:
    """Attributes:
    key: the id of the API key, where there is one.
    error: the code of the error that was answered.
    strategy: of the refinements; the last one's where a request has several kinds.
    decisions: how often refinements came to which.
    usage: what they spent together.
    """

    key: str | None = None
    error: str | None = None
    strategy: str | None = None
    decisions: Counter[str] = field(default_factory=Counter)
    usage: Usage = field(default_factory=Usage)

    def facts(self) -> dict[str, object]:
        """What is worth a place in the log's line: nothing that did not happen, no text."""
        facts: dict[str, object] = {"key": self.key, "error": self.error}
        if self.decisions:
            facts |= {"strategy": self.strategy, **self._decided(), **self._cost()}
        return {name: value for name, value in facts.items() if value is not None}

    def _decided(self) -> dict[str, object]:
        if self.decisions.total() == 1:
            return {"decision": next(iter(self.decisions))}
        return {"decisions": dict(self.decisions)}

    def _cost(self) -> dict[str, object]:
        usage = self.usage
        return {
            "programs": usage.programs,
            "cots": usage.cots,
            "executions": usage.executions,
            "prompt_tokens": usage.prompt_tokens,
            "completion_tokens": usage.completion_tokens,
            "model_s": round(usage.model_s, 4),
            "sandbox_s": round(usage.sandbox_s, 4),
        }


@contextmanager
def opened_account() -> Iterator[Account]:
    """An account that is the current one of everything done within."""
    account = Account()
    token = _current.set(account)
    try:
        yield account
    finally:
        _current.reset(token)


def current_account() -> Account:
    """The running request's; outside of requests one that nobody reads."""
    return _current.get() or Account()

"""What operators see of a running server: metrics, traces, and what a request came to."""

from cap_server.observing.account import Account, current_account, opened_account
from cap_server.observing.chats import ObservedChat
from cap_server.observing.circuits import CircuitFigures
from cap_server.observing.critics import ObservedCritic
from cap_server.observing.metrics import Metrics
from cap_server.observing.models import ObservedModel
from cap_server.observing.programs import ObservedSandbox, PoolFigures
from cap_server.observing.refinements import Refinements
from cap_server.observing.requests import OF_OPERATORS, ObservedRequests
from cap_server.observing.traces import NO_TRACES, Span, Traces, open_traces

__all__ = [
    "NO_TRACES",
    "OF_OPERATORS",
    "Account",
    "CircuitFigures",
    "Metrics",
    "ObservedChat",
    "ObservedCritic",
    "ObservedModel",
    "ObservedRequests",
    "ObservedSandbox",
    "PoolFigures",
    "Refinements",
    "Span",
    "Traces",
    "current_account",
    "open_traces",
    "opened_account",
]

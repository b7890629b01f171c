"""What a refinement weighs: the draws that it has under way at once."""

from __future__ import annotations

from cap_server.domain import Budget
from cap_server.strategies import Strategy

_A_FEW = 3
"""Strategies that stop early draw in small waves, whatever their maximum is."""


def cost_of(strategy: Strategy, budget: Budget) -> int:
    """At least 1. Strategies name what they draw at once `programs` and `cots`."""
    few = _A_FEW if hasattr(strategy, "max_programs") else 1
    most = max(few, getattr(strategy, "programs", 0), getattr(strategy, "cots", 0))
    return most if budget.programs is None else min(most, budget.programs)

"""The strategies that are measured, by the names that recipes and reports call them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SYSTEMS: Mapping[str, Mapping[str, Any]] = {
    "greedy": {"name": "single"},
    "majority of 8": {"name": "majority", "programs": 8, "overrule": 0},
    "majority of 8, gated": {"name": "majority", "programs": 8},
    "best of 8": {"name": "best_of_n", "programs": 8, "critic": "generative"},
    "BoNBoN 4+4": {"name": "bonbon", "cots": 4, "programs": 4, "critic": "generative"},
    "adaptive": {"name": "adaptive"},
}
"""What is measured, where the server offers the strategy."""

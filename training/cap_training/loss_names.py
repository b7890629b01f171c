"""The losses of stage 2 by name; `losses.py` says what they are."""

from typing import Literal

LossName = Literal[
    "sigmoid", "rpo", "ipo", "hinge", "robust", "apo_zero", "apo_down", "simpo", "orpo", "kto"
]

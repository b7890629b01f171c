"""The two kinds of warm processes, and which of them a program needs.

Forking a process that has sympy, numpy and mpmath loaded, and copying the pages that its child
writes to, costs several times what most programs cost. So there is a light kind of process, which
has the standard library alone. The text of a program tells which it needs; one whose text did not
tell is handed over by its light process, before anything of it has come out.
"""

from __future__ import annotations

from typing import Literal

Kind = Literal["light", "heavy"]
"""`light`: the standard library alone. `heavy`: sympy, numpy and mpmath besides."""

KINDS: tuple[Kind, ...] = ("light", "heavy")

_LIBRARIES = ("mpmath", "numpy", "sympy")


def kind_for(program: str) -> Kind:
    """Return the kind that a program needs by its text; a word in a comment counts too."""
    return "heavy" if any(name in program for name in _LIBRARIES) else "light"


def needs_heavy(module_name: str) -> bool:
    """Whether a module that programs may import is loaded in the heavy kind only."""
    return module_name.partition(".")[0] in _LIBRARIES

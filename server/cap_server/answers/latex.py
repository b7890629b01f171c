"""Formulas in LaTeX, for a parser that reads nothing else."""

from __future__ import annotations

import re

from cap_server.answers.formulas import is_mathematics
from cap_server.answers.plain import plain

_EDGES = re.compile(r"^(?:\\[(\[]|\$+)\s*|\s*(?:\\[)\]]|\$+)$")
_ROOT = re.compile(r"\bsqrt\s*\(([^()]*)\)")
_POWER = re.compile(r"\^\s*(?:\(([^()]*)\)|(-?\d+(?:\.\d+)?))")
_NAMED = re.compile(
    r"(?<![\\A-Za-z])(sin|cos|tan|cot|sec|csc|log|ln|exp|pi|max|min|gcd)(?![A-Za-z])"
)
_SIGNS = {
    "**": "^",
    "*": r" \cdot ",
    "<=": r" \le ",
    ">=": r" \ge ",
    "!=": r" \ne ",
    "oo": r"\infty ",
}
_NESTED = 8


def latex(text: str) -> str:
    """Return `text` as LaTeX without its dollar signs; empty if it is not all mathematics."""
    written = plain(text).rstrip(" .")
    if not is_mathematics(written):
        return ""
    if "\\" in text:
        return _EDGES.sub("", text.strip().rstrip("."))
    written = written.replace("**", "^").replace("⦃", r"\{").replace("⦄", r"\}")
    for _ in range(_NESTED):
        written, count = _ROOT.subn(r"\\sqrt{\1}", written)
        if not count:
            break
    written = _POWER.sub(lambda found: f"^{{{found[1] or found[2]}}}", written)
    written = _NAMED.sub(r"\\\1 ", written)
    for sign, command in _SIGNS.items():
        written = written.replace(sign, command)
    return written

"""Answers: read from CoTs and from programs' values, and compared. See `docs/answers.md`."""

from cap_server.answers.equality import same
from cap_server.answers.extraction import extract, stated
from cap_server.answers.latex import latex
from cap_server.answers.options import letter, option, unlabelled
from cap_server.answers.values import from_value

__all__ = ["extract", "from_value", "latex", "letter", "option", "same", "stated", "unlabelled"]

"""Objects whose references are not counted, so that looking at them copies no memory.

CPython counts an object's references in the object: a child that calls sympy's functions writes to
each of them, and the kernel copies their pages. From Python 3.12 on, an object whose count has
reached a mark is immortal (PEP 683) and its count stays as it is. A warm process gives its objects
that mark before it forks: they are never freed, in processes that would have kept them anyway, or
that end with their one program. What is made later is counted and freed as ever.
"""

from __future__ import annotations

import ctypes
import gc
import sys
import types
from collections.abc import Iterable, Iterator, Sequence

_Word = ctypes.c_uint64
"""An object's count and its flags, which come first in it."""

_IMMORTAL = 1 << 31
# The words of immortal objects, from Include/refcount.h and object.h. From 3.14 on the flag tells
# the interpreter's loop what the count tells everyone else.
_UNTIL_3_13 = 0xFFFF_FFFF
_FROM_3_14 = 1 << 48 | 3 << 30
_MARKS = {(3, 12): _UNTIL_3_13, (3, 13): _UNTIL_3_13, (3, 14): _FROM_3_14}
_TRIALS = 1_000


def keep() -> int:
    """Make all objects that there are immortal, and return how many have become so.

    Without effect, and 0, where the interpreter knows no immortal objects or does not behave as
    expected. Call it before `gc.freeze`, which hides objects.
    """
    mark = _mark()
    if mark is None:
        return 0
    kept = 0
    # Those that the collector knows, then those that only others know: texts, numbers, code.
    found = _newly_marked(gc.get_objects(), mark)
    while found:
        kept += len(found)
        found = _newly_marked(_held_by(found), mark)
    return kept


def _newly_marked(objects: Iterable[object], mark: int) -> list[object]:
    found = []
    for each in objects:
        word = _Word.from_address(id(each))
        if not word.value & _IMMORTAL:
            word.value = mark
            found.append(each)
    return found


def _held_by(objects: Sequence[object]) -> Iterator[object]:
    yield from gc.get_referents(*objects)
    # What the collector need not ask for, because it can be part of no cycle. Types are asked
    # instead of objects, whose `__class__` may be code of theirs.
    for each in objects:
        if issubclass(type(each), dict):
            yield from dict.keys(each)  # type: ignore[arg-type]
        elif type(each) is types.CodeType:
            yield from _parts(each)


def _parts(code: types.CodeType) -> Iterator[object]:
    yield from (code.co_consts, code.co_names, code.co_name, code.co_qualname, code.co_filename)
    yield from (code.co_linetable, code.co_exceptiontable)
    # These tuples are made anew for whoever asks; the names in them are the code's own.
    yield from (*code.co_varnames, *code.co_cellvars, *code.co_freevars)


def _mark() -> int | None:
    """Return the word of immortal objects; None unless it shows to work as described."""
    if hasattr(sys, "gettotalrefcount"):
        # A debugging build expects that nobody but itself sets counts.
        return None
    mark = _MARKS.get(sys.version_info[:2])
    return mark if mark is not None and _counts_until(mark) else None


def _counts_until(mark: int) -> bool:
    """Whether counts are where they are looked for, and stop at `mark`."""
    # One object is lost here, for ever.
    trial = types.SimpleNamespace(itself=object())
    word = _Word.from_address(id(trial.itself))
    first = word.value
    more = [trial.itself] * _TRIALS
    counted = word.value - first
    del more
    if counted != _TRIALS or word.value != first:
        return False
    word.value = mark
    more = [trial.itself] * _TRIALS
    seen = {word.value}
    del more
    for _ in range(_TRIALS):
        # What the interpreter's loop counts by itself.
        seen.add(id(trial.itself) and word.value)
    return seen == {mark}

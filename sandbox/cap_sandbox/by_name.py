"""Puts the policy behind the doors through which libraries read and write by name.

`functools.wraps` copies the attributes that it is told to, dataclasses read their fields, sympy's
printers look for a method of any name, `copy` restores what a class says, `sympy.var` and
`enum.global_enum` write into a module. Given the right names, each reaches what a program itself
may not. Each looks its tools up in its own module first, so that is where the checked ones go.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import importlib
import inspect
import sys
import types
from collections.abc import Callable, Iterable
from typing import Any, cast

from cap_sandbox.errors import PolicyError
from cap_sandbox.guards import writable
from cap_sandbox.names import hide, is_harmless

_COPIED = frozenset({*functools.WRAPPER_ASSIGNMENTS, "__defaults__", "__kwdefaults__"})
_FIELDS = "__dataclass_fields__"
_READERS = frozenset({_FIELDS, "__getattr__", "__getattribute__"})
# What a class says of itself need not be so.
_MRO: Callable[[type], tuple[type, ...]] = type.__dict__["__mro__"].__get__

# Where sympy reads attributes whose names a program can choose.
_READING_MODULES = (
    "sympy.core.cache", "sympy.core.decorators", "sympy.parsing.sympy_parser",
    "sympy.printing.printer", "sympy.utilities.decorator",
)  # fmt: skip


def close() -> None:
    """Replace the functions that go by names, in this process for ever."""
    functools.__dict__["update_wrapper"] = _update_wrapper
    functools.__dict__["wraps"] = _wraps
    copy.__dict__["_reconstruct"] = _restoring(copy.__dict__["_reconstruct"])
    inspect.__dict__["currentframe"] = _current_frame
    _close_dataclasses()


def close_sympy() -> None:
    """Have sympy read by harmless names only, in this process for ever."""
    for name in _READING_MODULES:
        importlib.import_module(name).__dict__["getattr"] = _read_harmless


def _update_wrapper(
    wrapper: object,
    wrapped: object,
    assigned: Iterable[str] = functools.WRAPPER_ASSIGNMENTS,
    updated: Iterable[str] = functools.WRAPPER_UPDATES,
) -> object:
    """Do what `functools.update_wrapper` does, for the names that it is meant for."""
    writable(wrapper)
    names, updates = tuple(assigned), tuple(updated)
    if not all(type(name) is str and name in _COPIED for name in names):
        raise PolicyError("functools.wraps copies no other attributes than its own")
    if isinstance(wrapped, types.ModuleType) or set(updates) - {"__dict__"}:
        raise PolicyError("functools.wraps takes a function")
    copied = {name: getattr(wrapped, name) for name in names if hasattr(wrapped, name)}
    for name, value in copied.items():
        setattr(wrapper, name, value)
    target = getattr(wrapper, "__dict__", None)
    if updates and type(target) is dict and isinstance(wrapped, types.FunctionType):
        target.update(wrapped.__dict__)
    cast("Any", wrapper).__wrapped__ = wrapped
    return wrapper


def _wraps(
    wrapped: object,
    assigned: Iterable[str] = functools.WRAPPER_ASSIGNMENTS,
    updated: Iterable[str] = functools.WRAPPER_UPDATES,
) -> Callable[[object], object]:
    names, updates = tuple(assigned), tuple(updated)
    return lambda wrapper: _update_wrapper(wrapper, wrapped, names, updates)


def _restoring(reconstruct: Callable[..., object]) -> Callable[..., object]:
    """Have `copy` restore the state of no module, function or class."""

    def reconstruct_checked(
        original: object, memo: object, make: Callable[..., object], *rest: object, **more: object
    ) -> object:
        def make_checked(*arguments: object) -> object:
            made = writable(make(*arguments))
            if isinstance(made, (types.FunctionType, type)):
                raise PolicyError("copy cannot restore a function or a class")
            return made

        return reconstruct(original, memo, make_checked, *rest, **more)

    return reconstruct_checked


def _read_harmless(owner: object, name: str, *default: object) -> object:
    """Read as sympy does for itself: `_print_Add`, `_latex`, but nothing of Python's own."""
    if not is_harmless(name):
        raise PolicyError(f"sympy cannot be had to read `{name}`")
    return getattr(owner, name, *default)


class _Frame:
    """A frame whose variables can be read, and whose module's namespace be written into."""

    def __init__(self, frame: types.FrameType | None) -> None:
        self._frame = frame

    @property
    def f_back(self) -> _Frame:
        return _Frame(self._frame.f_back if self._frame else None)

    @property
    def f_locals(self) -> dict[str, object]:
        return dict(self._frame.f_locals) if self._frame else {}

    @property
    def f_globals(self) -> _Names:
        return _Names(self._frame.f_globals if self._frame else {})


class _Names:
    """A namespace into which names go as a program's own would."""

    def __init__(self, namespace: dict[str, object]) -> None:
        self._namespace = namespace

    def __setitem__(self, name: str, value: object) -> None:
        hidden = hide(name) if type(name) is str else "_"
        if hidden[:1] == "_" and hidden != "_":
            raise PolicyError(f"the name `{name}` is reserved: choose one without underscores")
        self._namespace[hidden] = value


def _current_frame() -> _Frame:
    return _Frame(sys._getframe(1))


def _close_dataclasses() -> None:
    """Have dataclasses read, and write into the code that they make, names of fields only."""
    own = dataclasses.__dict__
    get_field, process_class = own["_get_field"], own["_process_class"]
    fields, replace = own["fields"], own["replace"]

    def get_checked_field(owner: type, name: str, *rest: object) -> object:
        if type(name) is not str or not name.isidentifier() or not is_harmless(name):
            raise PolicyError("a dataclass has a field whose name is no name")
        field = get_field(owner, name, *rest)
        _check_fields({name: field})
        return field

    def process_checked(owner: type, *rest: object, **options: object) -> object:
        for each in _MRO(owner):
            _check_class(each)
        return process_class(owner, *rest, **options)

    def checked_fields(instance: object) -> object:
        _check_class(instance if isinstance(instance, type) else type(instance))
        _check_fields(getattr(instance, _FIELDS, {}))
        return fields(instance)

    def checked_replace(instance: object, /, **changes: object) -> object:
        checked_fields(instance)
        return replace(instance, **changes)

    own["_get_field"], own["_process_class"] = get_checked_field, process_checked
    own["fields"], own["replace"] = checked_fields, checked_replace


def _check_class(owner: type) -> None:
    """Return if the fields of the class `owner` are such as dataclasses made, and stay so."""
    for kind in _MRO(type(owner)):
        if kind not in (type, object) and not _READERS.isdisjoint(vars(kind)):
            raise PolicyError("a dataclass cannot have a class of classes that reads for it")
    _check_fields(getattr(owner, _FIELDS, {}))


def _check_fields(fields: object) -> None:
    # A field's name, once it is checked, cannot be changed: `writable` refuses it.
    if type(fields) is not dict or any(type(f) is not dataclasses.Field for f in fields.values()):
        raise PolicyError("a dataclass has a field that is none")

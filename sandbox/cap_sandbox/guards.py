"""What stands behind a program's attributes, imports and builtins while it runs."""

from __future__ import annotations

import builtins
import dataclasses
import operator
import string
import sys
import types
import typing
from _string import formatter_field_name_split  # type: ignore[import-not-found]
from collections import UserString
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from RestrictedPython.Guards import safer_getattr_raise

from cap_sandbox.errors import PolicyError
from cap_sandbox.modules import DENIED_ARRAY_METHODS, Members, advice
from cap_sandbox.names import READABLE_UNDERSCORES, hide
from cap_sandbox.shapes import Shapes

_MAX_RECURSION = 50_000
_FORMATTING = frozenset({"format", "format_map", "Formatter", "get_field", "get_value", "vformat"})

_BUILTINS_WORDS = """
    __build_class__ __import__ ArithmeticError AssertionError AttributeError BaseException
    BaseExceptionGroup BufferError DeprecationWarning EOFError Ellipsis Exception ExceptionGroup
    False FloatingPointError FutureWarning GeneratorExit IOError ImportError IndentationError
    IndexError KeyError KeyboardInterrupt LookupError MemoryError ModuleNotFoundError NameError
    None NotImplemented NotImplementedError OSError OverflowError RecursionError ReferenceError
    RuntimeError RuntimeWarning StopIteration SyntaxError SyntaxWarning SystemExit TimeoutError
    True TypeError UnboundLocalError UnicodeDecodeError UnicodeEncodeError UnicodeError
    UserWarning ValueError Warning ZeroDivisionError abs all any ascii bin bool bytearray bytes
    callable chr classmethod complex dict divmod enumerate filter float format frozenset hash
    hex id int isinstance issubclass iter len list map max min next object oct ord pow print
    property range repr reversed round set slice sorted staticmethod str sum super tuple type
    zip
"""
_BUILTINS = _BUILTINS_WORDS.split()

_OPERATORS: Mapping[str, Callable[[Any, Any], object]] = {
    "Add": operator.iadd, "Sub": operator.isub, "Mult": operator.imul, "Div": operator.itruediv,
    "FloorDiv": operator.ifloordiv, "Mod": operator.imod, "Pow": operator.ipow,
    "MatMult": operator.imatmul, "BitAnd": operator.iand, "BitOr": operator.ior,
    "BitXor": operator.ixor, "LShift": operator.ilshift, "RShift": operator.irshift,
}  # fmt: skip


# Texts whose `format` would reach as far as Python's own.
_UNGUARDED_TEXTS = (super, UserString)

_stock_getattr: Callable[[object, str], object] = safer_getattr_raise


class _Formatter(string.Formatter):
    """`str.format` whose fields reach no further than the program's own attribute reads."""

    def __init__(self, read: Callable[[object, str], object]) -> None:
        self._read = read

    def get_field(
        self, field_name: str, args: Sequence[object], kwargs: Mapping[str, object]
    ) -> tuple[object, int | str]:
        first, rest = formatter_field_name_split(field_name)
        found = self.get_value(first, args, kwargs)
        for is_attribute, key in rest:
            found = self._read(found, key) if is_attribute else found[key]
        return found, first


class Guards:
    """The names that a checked program's code calls, and its builtins."""

    def __init__(self, members: Members) -> None:
        self._members = members
        self._denied = members.denied
        self._shapes = Shapes()
        self._formatter = _Formatter(self.read_text_named)
        self.builtins = self._builtins()

    def namespace(self, module: types.ModuleType) -> dict[str, object]:
        """Return the globals in which a checked program runs."""
        namespace = module.__dict__
        namespace["__builtins__"] = self.builtins
        namespace["_getattr_"] = self.read
        namespace["_write_"] = writable
        namespace["_augment_"] = self.augment
        namespace["_star_"] = lambda name: namespace.update(self._members.public(name))
        namespace["_shape_"] = self._shapes.of
        namespace["_sys_"] = _sys()
        return namespace

    def read(self, owner: object, name: str) -> object:
        """Read an attribute whose name the policy has seen in the program's text."""
        if name in _FORMATTING:
            return self._formatting(owner, name)
        if name in _WATCHED:
            self._refuse(owner, name, None)
        value = getattr(owner, name)
        if (
            type(owner) is types.ModuleType
            or isinstance(value, types.ModuleType)
            or id(value) in self._denied
        ):
            self._refuse(owner, name, value)
        return value

    def read_text_named(self, owner: object, name: str, *default: object) -> object:
        """Read an attribute whose name was made while the program ran, as `getattr` does."""
        if type(name) is not str:
            raise TypeError("attribute name must be string")
        if name in READABLE_UNDERSCORES or name in _FORMATTING:
            return self.read(owner, name)
        if name in _WATCHED:
            self._refuse(owner, name, None)
        try:
            value = _stock_getattr(owner, hide(name))
        except AttributeError:
            if default:
                return default[0]
            raise
        self._refuse(owner, name, value)
        return value

    def augment(self, owner: object, name: str, operation: str, operand: object) -> None:
        """Do `owner.name += operand` and its like."""
        writable(owner)
        setattr(owner, name, _OPERATORS[operation](self.read(owner, name), operand))

    def _has(self, owner: object, name: str) -> bool:
        try:
            self.read_text_named(owner, name)
        except AttributeError:
            return False
        return True

    def _refuse(self, owner: object, name: str, value: object) -> None:
        reason = self._members.why_not(owner, name, value)
        if reason is not None:
            raise PolicyError(reason)

    def _formatting(self, owner: object, name: str) -> object:
        """Return a safe `str.format`, or have the stock guard look at anything else so called."""
        formatter = self._formatter
        if isinstance(owner, str) and name == "format":
            return lambda *args, **kwargs: formatter.vformat(owner, args, kwargs)
        if isinstance(owner, str) and name == "format_map":
            return lambda mapping: formatter.vformat(owner, (), mapping)
        if owner is str and name == "format":
            return lambda text, *args, **kwargs: formatter.vformat(text, args, kwargs)
        if isinstance(owner, _UNGUARDED_TEXTS) or owner is UserString:
            raise PolicyError(f"`{name}` of this text is not available: use `str(text).{name}`")
        value = _stock_getattr(owner, name)
        self._refuse(owner, name, value)
        return value

    def _builtins(self) -> dict[str, object]:
        found: dict[str, object] = {
            name: getattr(builtins, name) for name in _BUILTINS if hasattr(builtins, name)
        }
        found |= {"getattr": self.read_text_named, "hasattr": self._has}
        found |= {"setattr": _set, "delattr": _delete, "exit": _exit, "quit": _exit}
        return found


_WATCHED = frozenset({"register"}) | DENIED_ARRAY_METHODS


# A field's name goes into code; what is written to a `List[int]` goes to what it stands for.
_PASSING_ON = (dataclasses.Field, type(typing.ClassVar[int]), type(typing.__dict__["List"]))


def writable(owner: object) -> object:
    """Return `owner` if a program may change its attributes.

    Raises:
        PolicyError: it is a module, which every later line relies on, or leads into one.
    """
    if isinstance(owner, types.ModuleType):
        raise PolicyError(f"module `{owner.__name__}` cannot be changed: use a variable")
    if isinstance(owner, _PASSING_ON):
        raise PolicyError(f"a {type(owner).__name__} cannot be changed: use a variable")
    return owner


def _set(owner: object, name: str, value: object) -> None:
    setattr(writable(owner), _checked(name), value)


def _delete(owner: object, name: str) -> None:
    delattr(writable(owner), _checked(name))


def _checked(name: object) -> str:
    if type(name) is not str:
        raise TypeError("attribute name must be string")
    if name.startswith("__"):
        raise PolicyError(f"`{name}` cannot be set by name: define it in the class")
    return hide(name)


def _exit(code: object = None) -> NoReturn:
    raise SystemExit(code)


class _Sys(types.SimpleNamespace):
    """The harmless part of `sys`."""

    def __getattr__(self, name: str) -> NoReturn:
        raise PolicyError(f"`sys.{name}` is not available: {advice('sys')}")


def _sys() -> _Sys:
    return _Sys(
        maxsize=sys.maxsize,
        float_info=sys.float_info,
        int_info=sys.int_info,
        version=sys.version,
        version_info=sys.version_info,
        stdout=sys.stdout,
        stderr=sys.stderr,
        exit=_exit,
        getrecursionlimit=sys.getrecursionlimit,
        setrecursionlimit=lambda limit: sys.setrecursionlimit(min(limit, _MAX_RECURSION)),
        getsizeof=sys.getsizeof,
        set_int_max_str_digits=lambda digits: None,
    )

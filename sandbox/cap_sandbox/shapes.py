"""What stands in a `match` statement for the program's own classes.

A class pattern reads attributes of whatever `isinstance` takes for an instance, and a class of
classes, an abstract class or a protocol may take anything, a module for one. A shape takes what
was made from its class, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable

from cap_sandbox.errors import PolicyError
from cap_sandbox.names import is_harmless

# What a class says of itself need not be so.
_MRO: Callable[[type], tuple[type, ...]] = type.__dict__["__mro__"].__get__


class _Shape(type):
    """The class of shapes.

    Attributes:
        owner: the class that a shape stands for.
    """

    owner: type

    def __instancecheck__(cls, instance: object) -> bool:
        return cls.owner in _MRO(type(instance))


class Shapes:
    """Makes the shape of each class once."""

    def __init__(self) -> None:
        self._made: dict[int, _Shape] = {}

    def of(self, owner: object) -> type:
        """Return the shape of a class that the program itself has made.

        Raises:
            PolicyError: `owner` is none.
        """
        shape = self._made.get(id(owner))
        if shape is None:
            shape = self._made[id(owner)] = _made(owner)
        return shape


def _made(owner: object) -> _Shape:
    if not isinstance(owner, type) or owner.__module__ != "__main__":
        raise PolicyError("only classes of the program's own can be matched by attributes")
    names = getattr(owner, "__match_args__", ())
    if type(names) is not tuple or not all(map(is_harmless, names)):
        raise PolicyError("a class cannot be matched by these attributes")
    return _Shape(owner.__name__, (), {"owner": owner, "__match_args__": names})

"""Names with a leading underscore: which are whose."""

from __future__ import annotations

from RestrictedPython.transformer import INSPECT_ATTRIBUTES

UNDERSCORE = "\N{MODIFIER LETTER LOW MACRON}"
"""Stands for a leading underscore in compiled programs, so that `_x` can reach no one else's."""

_READABLE_UNDERSCORES_WORDS = """
    __init__ __new__ __post_init__ __str__ __repr__ __name__ __doc__ __class__ __version__
    __eq__ __ne__ __lt__ __le__ __gt__ __ge__ __hash__ __bool__ __len__ __iter__ __next__
    __getitem__ __setitem__ __delitem__ __contains__ __reversed__ __missing__ __call__ __add__
    __radd__ __iadd__ __sub__ __rsub__ __isub__ __mul__ __rmul__ __imul__ __truediv__
    __rtruediv__ __itruediv__ __floordiv__ __rfloordiv__ __ifloordiv__ __mod__ __rmod__ __imod__
    __divmod__ __rdivmod__ __pow__ __rpow__ __ipow__ __matmul__ __rmatmul__ __imatmul__ __and__
    __rand__ __iand__ __or__ __ror__ __ior__ __xor__ __rxor__ __ixor__ __lshift__ __rlshift__
    __rshift__ __rrshift__ __neg__ __pos__ __abs__ __invert__ __int__ __float__ __complex__
    __index__ __round__ __trunc__ __floor__ __ceil__ __format__ __enter__ __exit__ __copy__
    __deepcopy__ _replace _asdict _make _fields
"""
READABLE_UNDERSCORES = frozenset(_READABLE_UNDERSCORES_WORDS.split())
"""Attributes with a leading underscore that programs may read, call and define."""


def hide(name: str) -> str:
    """Return the name under which a program's `name` is compiled."""
    if name[:1] != "_" or name == "_" or _is_dunder(name) or name in READABLE_UNDERSCORES:
        return name
    return UNDERSCORE + name[1:]


def as_written(text: str) -> str:
    """Return `text` with hidden names as the program wrote them."""
    return text.replace(UNDERSCORE, "_")


def is_harmless(name: object) -> bool:
    """Whether libraries may read the attribute `name` of anything because a program says so."""
    if type(name) is not str or name in INSPECT_ATTRIBUTES:
        return False
    return not _is_dunder(name) or name in READABLE_UNDERSCORES


def _is_dunder(name: str) -> bool:
    return name.startswith("__") and name.endswith("__")


def private(name: str, owner: str) -> str:
    """Return `name` as Python keeps it within the class `owner`: `__x` is each class's own."""
    owner = owner.lstrip("_")
    if not owner or name[:2] != "__" or name.endswith("__"):
        return name
    return f"_{owner}{name}"

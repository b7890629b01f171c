"""Which modules programs may import, and what of them is out of reach.

A module that is not listed is refused, submodules included; so is every module-valued attribute
that leads to one (`statistics.fractions.sys`).
"""

from __future__ import annotations

import builtins
import functools
import importlib
import operator
import sys
import types
from abc import ABCMeta
from collections.abc import Iterator, Mapping

from cap_sandbox import handover
from cap_sandbox.kinds import Kind, needs_heavy

_ALLOWED_WORDS = """
    __future__ abc array bisect calendar cmath collections collections.abc contextlib copy
    dataclasses datetime decimal enum fractions functools graphlib hashlib heapq io itertools
    json math mpmath numbers numpy numpy.char numpy.fft numpy.lib.stride_tricks numpy.linalg
    numpy.ma numpy.polynomial numpy.polynomial.chebyshev numpy.polynomial.hermite
    numpy.polynomial.laguerre numpy.polynomial.legendre numpy.polynomial.polynomial numpy.random
    numpy.typing operator pprint random re secrets statistics string struct sympy sympy.abc
    sympy.parsing sympy.parsing.sympy_parser sympy.physics sympy.physics.units sympy.printing
    sympy.printing.latex sympy.printing.pretty sympy.printing.str sympy.utilities
    sympy.utilities.iterables sympy.utilities.lambdify textwrap time types typing unicodedata
    warnings
"""
ALLOWED = frozenset(_ALLOWED_WORDS.split())

_MATHS_WORDS = """
    algebras assumptions calculus combinatorics concrete core crypto diffgeom discrete functions
    geometry holonomic integrals liealgebras logic matrices ntheory polys series sets simplify
    solvers stats tensor vector
"""
# These packages of sympy are maths through and through: all their submodules are allowed.
_MATHS = tuple(f"sympy.{package}" for package in _MATHS_WORDS.split())

# Whatever comes from these is out of reach, whichever module shows it.
_FOREIGN_WORDS = """
    os posix posixpath io _io sys importlib importlib._bootstrap inspect subprocess shutil tempfile
    pathlib ctypes _ctypes linecache pickle _pickle marshal socket threading _thread gc code codeop
    sympy.external.importtools sympy.utilities.misc sympy.utilities.source sympy.printing.gtk
"""
_FOREIGN = frozenset(_FOREIGN_WORDS.split())
_HARMLESS_FOREIGN = frozenset({"StringIO", "BytesIO", "filldedent", "as_int"})

_ADVICE: Mapping[str, str] = {
    "matplotlib": "programs cannot plot; compute the numbers",
    "scipy": "use sympy, numpy or mpmath",
    "pandas": "use lists and dicts",
    "networkx": "write the search with dicts and collections.deque",
    "multiprocessing": "programs have one process; compute in a loop",
    "threading": "programs have one thread; compute in a loop",
    "asyncio": "programs have one thread; compute in a loop",
    "os": "programs have no files, environment or processes",
    "sys": "only sys.maxsize, sys.float_info and sys.setrecursionlimit are there",
    "subprocess": "programs cannot start processes",
    "socket": "programs have no network",
    "requests": "programs have no network",
    "urllib": "programs have no network",
}

# Names that read or write files, load code or evaluate text, by the module whose face they show on.
_DENIED_NAMES: Mapping[str, str] = {
    "contextlib": "contextlib AsyncExitStack chdir redirect_stdout redirect_stderr",
    "copy": "dispatch_table",
    "dataclasses": "make_dataclass",
    "enum": "global_enum",
    "functools": "singledispatch singledispatchmethod get_cache_token update_wrapper wraps",
    "io": "FileIO BufferedReader BufferedWriter BufferedRandom TextIOWrapper open_code",
    "json": "load dump",
    "numpy": """
        DataSource fromfile fromregex genfromtxt get_include load loadtxt memmap save savetxt savez
        savez_compressed show_config show_runtime test info
        """,
    "mpmath": "runtests doctests plot cplot splot",
    "numpy.lib.stride_tricks": "as_strided",
    "operator": "attrgetter methodcaller",
    "string": "Formatter",
    "sympy": """
        preview plot plot_implicit plot_parametric plot3d plot3d_parametric_line
        plot3d_parametric_surface plotting_backends textplot test doctest source
        autowrap ufuncify binary_function codegen make_routine init_session interactive_traversal
        lazy_function
        """,
    "sympy.logic.utilities.dimacs": "load_file",
    "sympy.parsing.sympy_parser": "eval_expr",
    "sympy.utilities": """
        autowrap ufuncify binary_function codegen make_routine source runtests public
        """,
    "sympy.utilities.lambdify": "import_module",
    "types": "CellType TracebackType new_class prepare_class resolve_bases coroutine",
    "typing": "get_type_hints ForwardRef",
    "warnings": "showwarning formatwarning warn_explicit",
}

DENIED_ARRAY_METHODS = frozenset({"tofile", "dump", "ctypes", "cffi", "setflags"})
"""What arrays and bit generators offer that reads or writes files or memory."""


def allowed(kind: Kind) -> frozenset[str]:
    """Return the modules of `ALLOWED` that a kind of process has."""
    if kind == "heavy":
        return ALLOWED
    return frozenset(name for name in ALLOWED if not needs_heavy(name))


def advice(module: str) -> str:
    """Return what to do instead of importing `module`."""
    hint = _ADVICE.get(module.partition(".")[0])
    if hint is None and module.partition(".")[0] in ("sympy", "numpy"):
        hint = f"use what `{module.partition('.')[0]}` itself offers"
    return hint or "use math, fractions, itertools, collections, sympy or numpy"


class Members:
    """Says which attributes of modules and arrays are in reach.

    Built once in the zygote, over the modules as they are loaded there.

    Args:
        kind: that of the zygote.
        array_types: types of arrays, and of others that offer what arrays do.
    """

    def __init__(self, kind: Kind, *array_types: type) -> None:
        self.kind = kind
        self._array_types = array_types
        loaded = {name for name in sys.modules if name.startswith(_MATHS) and _is_maths(name)}
        names = sorted({*allowed(kind), *loaded})
        self._modules = {name: importlib.import_module(name) for name in names}
        self._allowed = {id(module) for module in self._modules.values()}
        self.denied = frozenset(map(id, self._denied_values()))
        """The ids of what is out of reach, whoever shows it; all of it lives as long as this."""

    def allows(self, module_name: str) -> bool:
        if self.kind == "light" and needs_heavy(module_name):
            handover.leave()
        return module_name in self._modules

    def why_not(self, owner: object, name: str, value: object) -> str | None:
        """Return why `owner.name`, which is `value`, is out of reach; None when it is not."""
        if isinstance(value, types.ModuleType) and id(value) not in self._allowed:
            return f"module `{value.__name__}` is not available: {advice(value.__name__)}"
        if isinstance(owner, types.ModuleType):
            foreign = _is_foreign(value)
            if foreign or self._leads_out(value) or id(owner) not in self._allowed:
                return f"`{owner.__name__}.{name}` is not available: programs have {_HAVE}"
        elif id(value) in self.denied or (name == "register" and _is_abstract(owner)):
            return f"`{name}` is not available here: programs have {_HAVE}"
        elif name in DENIED_ARRAY_METHODS and self._is_array_like(owner):
            return f"arrays have no `{name}` here: programs have {_HAVE}"
        return None

    def _leads_out(self, value: object, depth: int = 3) -> bool:
        """Whether `value` is out of reach, or a container that holds something that is."""
        if isinstance(value, types.ModuleType):
            return id(value) not in self._allowed
        if id(value) in self.denied:
            return True
        if depth and isinstance(value, dict):
            return any(self._leads_out(member, depth - 1) for member in value.values())
        if depth and isinstance(value, (list, tuple)):
            return any(self._leads_out(member, depth - 1) for member in value)
        return False

    def _is_array_like(self, owner: object) -> bool:
        """Whether `owner` is an array, a class of arrays, or what `super()` shows of one."""
        if isinstance(owner, type):
            return issubclass(owner, self._array_types)
        return isinstance(owner, (*self._array_types, super))

    def why_not_import(self, module_name: str, name: str) -> str | None:
        """Return why `from module_name import name` is refused; None when it is not, or fails."""
        if name[0] == "_":
            return f"`{module_name}.{name}` is not available: use public names"
        module = self._modules[module_name]
        found = getattr(module, name, None)
        return None if found is None else self.why_not(module, name, found)

    def public(self, module_name: str) -> dict[str, object]:
        """Return what `from module_name import *` binds."""
        module = self._modules[module_name]
        names = getattr(module, "__all__", None) or [n for n in vars(module) if n[0] != "_"]
        found = {name: getattr(module, name) for name in names if hasattr(module, name)}
        return {
            name: value
            for name, value in found.items()
            if name[0] != "_" and not self.why_not(module, name, value)
        }

    def _denied_values(self) -> Iterator[object]:
        for module_name, names in _DENIED_NAMES.items():
            if module_name not in self._modules:
                continue
            module = self._modules[module_name]
            yield from (getattr(module, name) for name in names.split() if hasattr(module, name))
        for name in ("eval", "exec", "compile", "open", "__import__", "input", "breakpoint"):
            yield getattr(builtins, name)
        for name in ("getattr", "setattr", "delattr", "vars", "globals", "locals", "memoryview"):
            yield getattr(builtins, name)
        yield from (operator.attrgetter, operator.methodcaller, functools.singledispatch)
        yield from (importlib.import_module, sys.exit)
        if self.kind == "heavy":
            yield importlib.import_module("sympy.external").import_module
        yield from (types.FunctionType, types.CodeType, types.FrameType, types.ModuleType)
        for module in self._modules.values():
            yield from filter(_is_foreign, list(vars(module).values()))


def _is_abstract(owner: object) -> bool:
    """Whether `owner` is an abstract class, a class of such, or what `super()` shows of one."""
    kind = owner if isinstance(owner, type) and issubclass(owner, type) else type(owner)
    return kind is super or issubclass(kind, ABCMeta)


def _is_maths(name: str) -> bool:
    return ".".join(name.split(".")[:2]) in _MATHS and ".tests" not in name


def _is_foreign(value: object) -> bool:
    if isinstance(value, (int, float, str)):
        return False
    home = getattr(value, "__module__", None)
    name = getattr(value, "__name__", None)
    return home in _FOREIGN and name not in _HARMLESS_FOREIGN


_HAVE = "no files, and evaluate no text"

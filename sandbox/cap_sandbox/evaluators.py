"""Puts the policy behind the doors through which libraries evaluate text.

`sympify("…")`, `parse_expr` and mpmath's `identify` call `eval` on what they were given, `lambdify`
compiles what its printers wrote. Each looks these functions up in its own module first, so that is
where the checked ones go; `solve("x**2 - 4", "x")` works as before.
"""

from __future__ import annotations

import ast
import builtins
import importlib
import types
from collections.abc import Iterable, Mapping

from RestrictedPython.transformer import INSPECT_ATTRIBUTES

from cap_sandbox.errors import PolicyError
from cap_sandbox.guards import Guards
from cap_sandbox.modules import Members
from cap_sandbox.policy import REFUSED_NAMES, Policy

# What lambdify's printers write of `builtins`.
_PRINTED_BUILTINS = frozenset({"abs", "max", "min", "range", "sum"})


def close(members: Members, guards: Guards) -> None:
    """Replace the evaluating functions in the modules that use them, in this process for ever."""
    parser = importlib.import_module("sympy.parsing.sympy_parser")
    lambdify = importlib.import_module("sympy.utilities.lambdify")
    doors = _Doors(members, guards)
    parser.__dict__["eval"] = doors.evaluate
    # For `evaluate=False` it compiles first; what is evaluated has to be seen before.
    parser.__dict__["compile"] = lambda tree, file_name, mode: tree
    lambdify.__dict__["compile"] = _compile_printed
    lambdify.__dict__["exec"] = doors.execute
    identification = importlib.import_module("mpmath.identification")
    identification.__dict__["eval"] = doors.evaluate


class _Doors:
    """The checked stand-ins for `eval` and `exec`."""

    def __init__(self, members: Members, guards: Guards) -> None:
        self._members = members
        self._guards = guards
        self._home = importlib.import_module("sympy")

    def evaluate(
        self,
        text: str | ast.Expression,
        names: Mapping[str, object],
        local: Mapping[str, object] | None = None,
    ) -> object:
        tree = ast.parse(text, mode="eval") if isinstance(text, str) else text
        policy = Policy({}, self._members)
        policy.visit(tree)
        if policy.errors:
            raise PolicyError(policy.errors[0].partition(": ")[2])
        within = {**names, "__builtins__": self._guards.builtins, "_getattr_": self._guards.read}
        self._check_names(
            {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}, within
        )
        return eval(
            compile(tree, "<expression>", "eval", dont_inherit=True), within, dict(local or {})
        )

    def execute(
        self, code: str | types.CodeType, names: dict[str, object], local: dict[str, object]
    ) -> None:
        if isinstance(code, str):
            self._check_imports(code)
            builtins.exec(code, names, local)
        else:
            guards = {"__builtins__": self._guards.builtins, "_getattr_": self._guards.read}
            self._check_names(_names(code), names)
            builtins.exec(code, names | guards, local)

    def _check_names(self, wanted: Iterable[str], names: Mapping[str, object]) -> None:
        """Check what a library's whole namespace offers, `numpy.load` and `sympy.preview` too."""
        for name in wanted:
            reason = self._members.why_not(self._home, name, names.get(name))
            if reason is not None:
                raise PolicyError(reason)

    def _check_imports(self, code: str) -> None:
        """Let lambdify import what it evaluates with: numpy, math, mpmath and sympy itself."""
        for node in ast.parse(code).body:
            match node:
                case ast.Import(names=names):
                    wanted = [alias.name for alias in names]
                case ast.ImportFrom(module=str(name), level=0):
                    wanted = [name]
                case _:
                    raise PolicyError("lambdify cannot be given code")
            if not all(map(self._members.allows, wanted)):
                # As if it were not installed: lambdify then tries the next library by itself.
                raise ImportError(f"lambdify cannot use {', '.join(wanted)}: use numpy or math")


def _compile_printed(text: str, file_name: str, mode: str) -> types.CodeType:
    tree = ast.parse(text, file_name)
    parents = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    qualified = {id(node.value): node.attr for node in parents}
    for node in ast.walk(tree):
        _check_printed(node, qualified.get(id(node)))
    guarded = ast.fix_missing_locations(_Guarded().visit(tree))
    return compile(guarded, file_name, mode, dont_inherit=True)


class _Guarded(ast.NodeTransformer):
    """Has the guard read the attributes in what was printed."""

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.value, ast.Name) and node.value.id == "builtins":
            return node
        read = ast.Name("_getattr_", ast.Load())
        return ast.copy_location(ast.Call(read, [node.value, ast.Constant(node.attr)], []), node)


def _names(code: types.CodeType) -> set[str]:
    """The names that `code` and the functions in it look up."""
    inner = [each for each in code.co_consts if isinstance(each, types.CodeType)]
    return {*code.co_names}.union(*map(_names, inner))


def _check_printed(node: ast.AST, attribute: str | None) -> None:
    """Check one node of a printed function; `attribute` is what is read of it, if anything."""
    match node:
        case ast.Import() | ast.ImportFrom() | ast.ClassDef() | ast.AsyncFunctionDef():
            raise PolicyError("lambdify printed a statement that is not available")
        case ast.Attribute(attr=name) if name.startswith("_") or name in INSPECT_ATTRIBUTES:
            raise PolicyError(f"lambdify printed `.{name}`, which is not available")
        case ast.Name(id="builtins") if attribute not in _PRINTED_BUILTINS:
            raise PolicyError("lambdify printed a builtin that is not available")
        case ast.Name(id=name) if name in REFUSED_NAMES or name.startswith("__"):
            raise PolicyError(f"lambdify printed `{name}`, which is not available")

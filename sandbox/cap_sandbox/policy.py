"""What the text of a program may say: RestrictedPython, extended until ordinary maths runs.

The policy turns mistakes and the easy attacks into reasons that a model can act on, before anything
runs. It is the first layer and never the boundary: that is the jail.

What RestrictedPython guards and this does not, on purpose: items, iteration, unpacking, augmented
assignment stay Python's own, because no object here guards its own items, and programs stay fast.
"""

from __future__ import annotations

import ast
import types
from collections.abc import Iterable, Iterator, Mapping, Set

from RestrictedPython.transformer import (
    INSPECT_ATTRIBUTES,
    RestrictingNodeTransformer,
    copy_locations,
)

from cap_sandbox import modules
from cap_sandbox.modules import DENIED_ARRAY_METHODS, Members
from cap_sandbox.names import READABLE_UNDERSCORES, hide, private

FILE_NAME = "program.py"
_MAX_REASONS = 8

REFUSED_NAMES = {
    "breakpoint": "there is no debugger; print what you need",
    "compile": "write the code itself",
    "dir": "name the attributes you need",
    "eval": "write the expression itself, or use int(), float(), Fraction() or sympy.sympify()",
    "exec": "write the code itself",
    "globals": "use a dict of your own",
    "help": "there is no reader",
    "input": "nobody answers; write the question's numbers into the program",
    "locals": "use a dict of your own",
    "memoryview": "use bytes or a list",
    "open": "programs have no files; write the data into the program",
    "vars": "use a dict of your own",
    "__import__": "use an import statement",
    "__builtins__": "use the builtins by name",
    "__file__": "programs have no files",
}

_CLASS_NAMES = frozenset({"__slots__", "__hash__", "__eq__", "__doc__"})
# Builtins whose one positional pattern is the value itself, which reads no attribute.
_MATCHED_WHOLE = frozenset(
    {
        "bool",
        "bytearray",
        "bytes",
        "dict",
        "float",
        "frozenset",
        "int",
        "list",
        "set",
        "str",
        "tuple",
    }
)

# Every field of the syntax tree that holds an identifier of the program's own, by kind of node.
_IDENTIFIERS: Mapping[type[ast.AST], str] = {
    ast.Name: "id",
    ast.Attribute: "attr",
    ast.arg: "arg",
    ast.keyword: "arg",
    ast.FunctionDef: "name",
    ast.ClassDef: "name",
    ast.ExceptHandler: "name",
    ast.alias: "asname",
    ast.MatchAs: "name",
    ast.MatchStar: "name",
    ast.MatchMapping: "rest",
}
_IDENTIFIER_LISTS: Mapping[type[ast.AST], str] = {
    ast.Global: "names",
    ast.Nonlocal: "names",
    ast.MatchClass: "kwd_attrs",
}
# Every kind of node that binds a name.
_BINDING = frozenset(_IDENTIFIERS) - {ast.Attribute, ast.keyword}


class RejectedError(Exception):
    """The policy refuses a program.

    Attributes:
        reasons: one line each: where, what, and what to use instead.
    """

    def __init__(self, reasons: Iterable[str]) -> None:
        self.reasons = tuple(reasons)
        super().__init__("\n".join(self.reasons))


def compile_program(tree: ast.Module, members: Members) -> types.CodeType:
    """Check a program and compile it to code that runs in `Guards.namespace`.

    Args:
        tree: the program's syntax; it is changed.
        members: what of the modules is in reach.

    Raises:
        RejectedError: the policy refuses it.
        SyntaxError: it is no Python.
    """
    policy = Policy(_bound_names(tree), members)
    _hide_underscores(tree)
    policy.visit(tree)
    if policy.errors:
        raise RejectedError(policy.errors[:_MAX_REASONS])
    return compile(tree, FILE_NAME, "exec", dont_inherit=True)


def _hide_underscores(node: ast.AST, owner: str = "") -> None:
    """Rename what begins with underscores, within the class `owner` as Python would have."""
    kind = type(node)
    field = _IDENTIFIERS.get(kind)
    inner = owner
    body: list[ast.stmt] = []
    if isinstance(node, ast.ClassDef):
        inner, body = node.name, node.body
    if field is not None:
        name = getattr(node, field)
        # Most names begin with a letter, and stay.
        if name and name[0] == "_":
            setattr(node, field, hide(private(name, owner)))
    elif kind in _IDENTIFIER_LISTS:
        names = _IDENTIFIER_LISTS[kind]
        setattr(node, names, [hide(private(name, owner)) for name in getattr(node, names)])
    for child in ast.iter_child_nodes(node):
        _hide_underscores(child, inner if child in body else owner)


def _bound_names(tree: ast.AST) -> Mapping[str, Set[type[ast.AST]]]:
    """The names that the program binds, and the kinds of nodes that bind them."""
    bound: dict[str, set[type[ast.AST]]] = {}
    for name, node in _bindings(tree):
        bound.setdefault(name, set()).add(type(node))
    return bound


def _bindings(tree: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    for node in ast.walk(tree):
        if type(node) not in _BINDING:
            continue
        match node:
            case ast.Name(id=name, ctx=ast.Store()):
                yield name, node
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name) | ast.arg(arg=name):
                yield name, node
            case ast.alias(name=name, asname=other):
                yield other or name.partition(".")[0], node
            case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)):
                yield name, node
            case ast.MatchStar(name=str(name)) | ast.MatchMapping(rest=str(name)):
                yield name, node


class Policy(RestrictingNodeTransformer):
    """The transformer: rejects what programs may not say, and routes attribute reads to guards."""

    def __init__(self, bound: Mapping[str, Set[type[ast.AST]]], members: Members) -> None:
        super().__init__()
        self._bound = frozenset(bound)
        # Under these names stand classes that the program itself defines, and nothing else.
        self._classes = {name for name, kinds in bound.items() if kinds == {ast.ClassDef}}
        self._members = members
        # The class patterns of the `match` statement at hand: a name for each, and its class.
        self._shapes: dict[str, str] = {}

    def error(self, node: ast.AST, info: str) -> None:
        self.errors.append(f"line {getattr(node, 'lineno', '?')}: {info}")

    def not_allowed(self, node: ast.AST) -> None:
        name = type(node).__name__
        construct, instead = _INSTEAD.get(name, (name, "write it in plain statements"))
        self.error(node, f"`{construct}` is not available: {instead}")

    def _own(self, node: ast.AST) -> ast.AST:
        """Leave a node to Python, once its parts are checked."""
        return self.node_contents_visit(node)

    # Names

    def visit_Name(self, node: ast.Name) -> ast.AST:
        if node.id == "__name__" and isinstance(node.ctx, ast.Load):
            return ast.copy_location(ast.Constant("__main__"), node)
        if node.id in REFUSED_NAMES and node.id not in self._bound:
            self.error(node, f"`{node.id}` is not available: {REFUSED_NAMES[node.id]}")
        else:
            self.check_name(node, node.id)
        return node

    def check_name(
        self, node: ast.AST, name: str | None, allow_magic_methods: bool = False
    ) -> None:
        if name is None or name[:1] != "_" or name == "_" or name in _CLASS_NAMES:
            return
        if not (allow_magic_methods and name in READABLE_UNDERSCORES):
            self.error(node, f"the name `{name}` is reserved: choose one without underscores")

    # Attributes

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        self._check_attribute(node, node.attr)
        node = self.node_contents_visit(node)
        if isinstance(node.ctx, ast.Load):
            read = _call("_getattr_", node.value, ast.Constant(node.attr))
            copy_locations(read, node)
            return read
        self._check_written(node)
        owner = _call("_write_", node.value)
        copy_locations(owner, node.value)
        node.value = owner
        return node

    def _check_attribute(self, node: ast.AST, name: str) -> None:
        if name in INSPECT_ATTRIBUTES:
            self.error(node, f"`.{name}` is not available: programs cannot look into frames")
        elif name[:1] == "_" and name != "_" and name not in READABLE_UNDERSCORES:
            self.error(node, f"`.{name}` is not available: use public attributes and methods")

    def _check_written(self, node: ast.Attribute) -> None:
        if node.attr[:2] == "__":
            self.error(node, f"`.{node.attr}` cannot be assigned: define it in the class")

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.AST:
        if not isinstance(node.target, ast.Attribute):
            return self._own(node)
        self._check_attribute(node.target, node.target.attr)
        self._check_written(node.target)
        owner, operand = self.visit(node.target.value), self.visit(node.value)
        attribute = ast.Constant(node.target.attr)
        operation = ast.Constant(type(node.op).__name__)
        statement = ast.Expr(_call("_augment_", owner, attribute, operation, operand))
        copy_locations(statement, node)
        return statement

    # Imports

    def visit_Import(self, node: ast.Import) -> list[ast.stmt]:
        return [self._import(node, alias) for alias in node.names]

    def _import(self, node: ast.Import, alias: ast.alias) -> ast.stmt:
        self.check_name(node, alias.asname)
        if alias.name == "sys":
            return _assign(node, alias.asname or "sys", ast.Name("_sys_", ast.Load()))
        self._check_module(node, alias.name)
        return ast.copy_location(ast.Import([alias]), node)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST | list[ast.stmt]:
        name = node.module or ""
        for alias in node.names:
            self.check_name(node, alias.asname)
        if node.level:
            self.error(node, "a relative import has nothing to start from: import a module")
        elif name == "sys":
            return [_from_sys(node, alias) for alias in node.names]
        elif self._check_module(node, name):
            return self._import_from(node, name)
        return node

    def _import_from(self, node: ast.ImportFrom, name: str) -> ast.AST:
        if node.names[0].name == "*":
            statement = ast.Expr(_call("_star_", ast.Constant(name)))
            copy_locations(statement, node)
            return statement
        for alias in node.names:
            reason = self._members.why_not_import(name, alias.name)
            if reason is not None:
                self.error(node, reason)
        return node

    def _check_module(self, node: ast.AST, name: str) -> bool:
        if self._members.allows(name):
            return True
        self.error(node, f"`import {name}` is not available: {modules.advice(name)}")
        return False

    # Definitions

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        self.check_name(node, node.name, allow_magic_methods=node.col_offset > 0)
        self.check_function_argument_names(node)
        return self._own(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        self.check_name(node, node.name)
        return self._own(node)

    # Patterns: a class pattern's keywords read attributes, and no guard stands between. So shapes
    # replace classes: they match real instances of the program's own only.

    def visit_Match(self, node: ast.Match) -> list[ast.stmt]:
        outer, self._shapes = self._shapes, {}
        self._own(node)
        shapes, self._shapes = self._shapes, outer
        takes = [
            _assign(node, name, _call("_shape_", ast.Name(owner, ast.Load())))
            for name, owner in shapes.items()
        ]
        return [*takes, node]

    def visit_MatchClass(self, node: ast.MatchClass) -> ast.AST:
        for name in node.kwd_attrs:
            self._check_attribute(node, name)
        reads = bool(node.kwd_attrs or node.patterns)
        if reads and not self._is_matchable(node):
            self.error(
                node, "only what the program defines with `class` can be matched by attributes"
            )
        self._own(node)
        if reads and isinstance(node.cls, ast.Name) and node.cls.id in self._classes:
            self._take_shape(node.cls)
        return node

    def _take_shape(self, owner: ast.Name) -> None:
        name = f"_shape_of_{owner.id}_"
        self._shapes[name] = owner.id
        owner.id = name

    def _is_matchable(self, node: ast.MatchClass) -> bool:
        if not isinstance(node.cls, ast.Name) or DENIED_ARRAY_METHODS & {*node.kwd_attrs}:
            return False
        whole = not node.kwd_attrs and node.cls.id in _MATCHED_WHOLE
        return node.cls.id in self._classes or (whole and node.cls.id not in self._bound)

    def visit_MatchAs(self, node: ast.MatchAs) -> ast.AST:
        self.check_name(node, node.name)
        return self._own(node)

    def visit_MatchStar(self, node: ast.MatchStar) -> ast.AST:
        self.check_name(node, node.name)
        return self._own(node)

    def visit_MatchMapping(self, node: ast.MatchMapping) -> ast.AST:
        self.check_name(node, node.rest)
        return self._own(node)

    def _check_scope_names(self, node: ast.Global | ast.Nonlocal) -> ast.AST:
        for name in node.names:
            self.check_name(node, name)
        return node

    visit_Global = _check_scope_names
    visit_Nonlocal = _check_scope_names

    # Python's own
    visit_Module = _own
    visit_AnnAssign = _own
    visit_Assign = _own
    visit_Call = _own
    visit_For = _own
    visit_MatchOr = _own
    visit_MatchSequence = _own
    visit_MatchSingleton = _own
    visit_MatchValue = _own
    visit_Subscript = _own
    visit_With = _own
    visit_comprehension = _own
    visit_match_case = _own


_INSTEAD = {
    "AsyncFor": ("async for", "use `for`"),
    "AsyncFunctionDef": ("async def", "use `def`"),
    "AsyncWith": ("async with", "use `with`"),
    "Await": ("await", "call the function directly"),
    "TryStar": ("except*", "use `except`"),
}


def _call(name: str, *arguments: ast.expr) -> ast.Call:
    return ast.Call(ast.Name(name, ast.Load()), list(arguments), [])


def _assign(node: ast.stmt, name: str, value: ast.expr) -> ast.stmt:
    statement = ast.Assign([ast.Name(name, ast.Store())], value)
    copy_locations(statement, node)
    return statement


def _from_sys(node: ast.ImportFrom, alias: ast.alias) -> ast.stmt:
    value = _call("_getattr_", ast.Name("_sys_", ast.Load()), ast.Constant(alias.name))
    return _assign(node, alias.asname or alias.name, value)

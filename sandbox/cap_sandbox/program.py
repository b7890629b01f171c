"""One program from text to report. Runs inside the program's process."""

from __future__ import annotations

import ast
import builtins
import io
import random
import re
import sys
import traceback
import types
from collections import deque
from collections.abc import Callable, Set
from contextlib import redirect_stderr, redirect_stdout

from cap_sandbox import by_name, evaluators
from cap_sandbox.errors import PolicyError
from cap_sandbox.guards import Guards
from cap_sandbox.modules import Members
from cap_sandbox.names import as_written
from cap_sandbox.policy import FILE_NAME, RejectedError, compile_program
from cap_sandbox.protocol import MAX_TEXT, Report, ReportStatus, Value
from cap_sandbox.values import StandardLibrary, is_answer, to_value

# Python's own default, and what this package's own frames take of it.
_RECURSION_LIMIT = 1_040
_CHECK_RECURSION_LIMIT = 20_000
_MAX_FRAMES = 12
# What programs call the function that returns their answer.
_SOLVING = ("solution", "solver")
_MAX_MESSAGE = 2_000
# 10**100000 takes a tenth of a second to write out; Python's own limit is 4,300 digits.
_MAX_DIGITS = 100_000


class Output(io.TextIOBase):
    """Keeps the beginning of what is written, and its last lines.

    Args:
        max_bytes: how much of the beginning is kept, in UTF-8.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._beginning: list[str] = []
        self._kept = 0
        self._end: deque[str] = deque()
        self._end_length = 0
        self._written = 0

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        self._written += len(text)
        if self._kept < self._max_bytes:
            piece = text[: self._max_bytes - self._kept]
            self._beginning.append(piece)
            self._kept += len(piece)
        self._keep_end(text[-MAX_TEXT:])
        return len(text)

    def writable(self) -> bool:
        return True

    def last_line(self) -> str | None:
        """Return the last line that is not blank, stripped; None if there is none."""
        lines = as_written("".join(self._end)).rstrip().splitlines()
        return lines[-1].strip() if lines else None

    def text(self) -> str:
        """Return the beginning, with a mark if there was more."""
        beginning = as_written("".join(self._beginning))
        encoded = beginning.encode("utf-8", "replace")[: self._max_bytes]
        kept = encoded.decode("utf-8", "ignore")
        cut = self._written - len(kept)
        return f"{kept}\n[{cut} more characters were cut]" if cut else kept

    def _keep_end(self, text: str) -> None:
        self._end.append(text)
        self._end_length += len(text)
        while self._end_length - len(self._end[0]) >= MAX_TEXT:
            self._end_length -= len(self._end.popleft())


class Runner:
    """Runs programs, under the policy or, for tests of the jail, without it.

    Args:
        members: what of the modules is in reach.
        policy: whether programs are checked.
        library: what knows the values that programs may leave.
    """

    def __init__(self, members: Members, *, policy: bool, library: StandardLibrary) -> None:
        self._members = members
        self._library = library
        self._guards = Guards(members) if policy else None
        if self._guards is not None:
            by_name.close()
            if members.kind == "heavy":
                by_name.close_sympy()
                evaluators.close(members, self._guards)

    def run(
        self, program: str, *, output_bytes: int, on_memory_error: Callable[[], None]
    ) -> Report:
        """Run `program` to its end.

        Args:
            program: its text.
            output_bytes: how much of each output stream is kept.
            on_memory_error: called when memory ran out, before anything more is asked of it.
        """
        stdout, stderr = Output(output_bytes), Output(output_bytes)
        with redirect_stdout(stdout), redirect_stderr(stderr):
            status, value, reasons = self._end(program, stdout, on_memory_error)
        return Report(status, value, stdout.text(), stderr.text() + reasons)

    def _end(
        self, program: str, stdout: Output, on_memory_error: Callable[[], None]
    ) -> tuple[ReportStatus, Value | None, str]:
        try:
            return "ok", self._answer(program, stdout), ""
        except RejectedError as error:
            return "rejected", None, str(error)
        except MemoryError:
            on_memory_error()
            return "memory", None, "MemoryError: the program needs more memory than it may use"
        except PolicyError as error:
            return "rejected", None, f"line {_line_of(error)}: {error}"
        # A program may raise anything, `BaseException` included; this is where it ends.
        except BaseException as error:  # noqa: BLE001
            on_memory_error()
            return "error", None, describe(error, program)

    def _answer(self, program: str, stdout: Output) -> Value | None:
        code, called = self._compile(program)
        namespace = self._namespace()
        self._prepare()
        try:
            exec(code, namespace)
        except SystemExit as leaving:
            if leaving.code not in (None, 0):
                raise
        return self._find_answer(called, namespace, stdout)

    def _prepare(self) -> None:
        """Make every program start alike, so that one run can be repeated."""
        random.seed(0)
        self._library.start()
        sys.set_int_max_str_digits(_MAX_DIGITS)
        sys.setrecursionlimit(_RECURSION_LIMIT)

    def _find_answer(
        self, called: Set[str], namespace: dict[str, object], stdout: Output
    ) -> Value | None:
        """Return a finished program's answer by the rule that `docs/sandbox.md` gives."""
        for name in ("answer", "ans"):
            if is_answer(namespace.get(name), self._library):
                return to_value(namespace[name], self._library)
        functions = [name for name in _SOLVING if callable(namespace.get(name))]
        uncalled = [name for name in functions if name not in called]
        # A program that calls its function, and neither prints nor keeps what it returns, is
        # called again: there is nothing else to go by.
        for name in uncalled or ([] if stdout.last_line() else functions):
            value = _call(namespace[name])
            if is_answer(value, self._library):
                return to_value(value, self._library)
        line = stdout.last_line()
        return None if line is None else Value("text", line)

    def _compile(self, program: str) -> tuple[types.CodeType, Set[str]]:
        """Return the code of `program`, and which of the functions with its answer it calls."""
        sys.setrecursionlimit(_CHECK_RECURSION_LIMIT)
        if self._guards is None:
            code = compile(program, FILE_NAME, "exec", dont_inherit=True)
            return code, _called(program, ast.parse(program))
        try:
            tree = ast.parse(program, FILE_NAME)
            # Before the policy changes the tree; parsing costs as much as all the rest of it.
            called = _called(program, tree)
            return compile_program(tree, self._members), called
        except (RecursionError, MemoryError):
            raise RejectedError(["line 1: the program is nested too deeply"]) from None

    def _namespace(self) -> dict[str, object]:
        # Dataclasses look their module up by name.
        module = sys.modules["__main__"] = types.ModuleType("__main__")
        if self._guards is None:
            module.__dict__["__builtins__"] = builtins
            return module.__dict__
        return self._guards.namespace(module)


def _called(program: str, tree: ast.Module) -> Set[str]:
    """Return which of the functions with an answer the program calls."""
    # A letter that is not of ASCII may be one of theirs to Python.
    named = [name for name in _SOLVING if name in program or not program.isascii()]
    return {name for name in named if _is_called(tree, name)}


def _is_called(tree: ast.Module, name: str) -> bool:
    """Whether a program calls `name` anywhere but in that function's own body."""
    outside = (
        node
        for statement in tree.body
        if not (isinstance(statement, ast.FunctionDef) and statement.name == name)
        for node in ast.walk(statement)
    )
    return any(
        isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name
        for node in outside
    )


def _call(function: object) -> object:
    code = getattr(function, "__code__", None)
    defaults = getattr(function, "__defaults__", None) or ()
    if not callable(function) or code is None or code.co_argcount > len(defaults):
        return None
    return function()


def _line_of(error: BaseException) -> int:
    """Return the program's line that `error` came through last, 0 if it has none."""
    steps = traceback.walk_tb(error.__traceback__)
    return max(
        ((n, line) for n, (frame, line) in enumerate(steps) if _is_own(frame)), default=(0, 0)
    )[1]


def _is_own(frame: types.FrameType) -> bool:
    return frame.f_code.co_filename == FILE_NAME


def describe(error: BaseException, program: str) -> str:
    """Return a traceback of `program`'s own lines, as Python would print it."""
    try:
        message = "".join(traceback.format_exception_only(error))
    # The message is the program's own `__str__`, which may fail in any way.
    except BaseException:  # noqa: BLE001
        message = f"{type(error).__name__}\n"
    lines = program.splitlines()
    frames = [
        f'  File "{FILE_NAME}", line {number}, in {frame.f_code.co_name}\n'
        f"    {lines[number - 1].strip() if number <= len(lines) else ''}\n"
        for frame, number in traceback.walk_tb(error.__traceback__)
        if _is_own(frame)
    ]
    if len(frames) > _MAX_FRAMES:
        half = _MAX_FRAMES // 2
        frames[half:-half] = [f"  ... {len(frames) - 2 * half} more frames\n"]
    header = "Traceback (most recent call last):\n" if frames else ""
    return _without_host_paths(header + "".join(frames) + _shortened(message))


def _shortened(message: str) -> str:
    return message if len(message) <= _MAX_MESSAGE else f"{message[:_MAX_MESSAGE]}…\n"


def _without_host_paths(text: str) -> str:
    for prefix in {sys.prefix, sys.base_prefix, sys.exec_prefix, *filter(None, sys.path)}:
        if len(prefix) > 1:
            text = re.sub(re.escape(prefix) + r"[^\s'\")]*", "…", text)
    return as_written(text)

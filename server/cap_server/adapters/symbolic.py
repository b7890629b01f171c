"""The child process of `math_verify.py`: reads pairs of LaTeX texts, says which are equal.

What it parses was written by models, and sympy is not made for that: it may run away in time or
memory, and it has parsers that evaluate. So it runs alone, with nothing to find or to write to,
and only the LaTeX parser, which never evaluates Python, sees a text.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import signal
import sys
from collections.abc import Iterator
from typing import Any, BinaryIO

from math_verify import LatexExtractionConfig, parse, verify

from cap_sandbox import seccomp

_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38
_MEMORY_BYTES = 2 * 1024**3
_FILES = 32
_CPU_S = 20
"""Processor time of one comparison; the parent's clock is far stricter, unless it is dead."""

_RECURSION = 600
_DECIMALS = 9
_EXAMPLES = (
    (r"\frac{\sqrt{2}}{2}", r"\sin(\frac{\pi}{4})"),
    (r"x^2 + 2x + 1", r"(x + 1)^2"),
    (r"\{1, 2\}", r"\{2, 1\}"),
    (r"(0, 1] \cup [2, \infty)", r"[2, \infty) \cup (0, 1]"),
    (
        r"\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}",
        r"\begin{bmatrix} 1 & 2 \\ 3 & 4 \end{bmatrix}",
    ),
    (r"x = \frac{1}{2} \pm \log 3", r"x \geq 2"),
    (r"\int_0^1 x \, dx", r"\binom{4}{2}"),
)
_LATEX = (LatexExtractionConfig(boxed_match_priority=-1),)


def main() -> None:
    """Answer one line of JSON with one, until stdin ends."""
    _die_with_parent()
    replies = _reply_channel()
    _limit()
    _warm_up()
    _shut_in()
    _write(replies, {"ready": True})
    for line in sys.stdin.buffer:
        _allow_cpu()
        request = json.loads(line)
        _write(replies, {"id": request["id"], "same": _same(request["a"], request["b"])})


def _warm_up() -> None:
    """Have everything imported that a comparison imports when it first needs it."""
    for a, b in _EXAMPLES:
        _same([a], [b])


def _shut_in() -> None:
    """Load the sandbox's own filter of system calls, where this machine has one.

    From here on no file can be opened, no process started and nothing sent but replies.
    """
    with contextlib.suppress(seccomp.SeccompError, OSError):
        seccomp.compile_filter().load()


def _same(a: list[str], b: list[str]) -> bool:
    return any(_equal(x, y) for x in _parsed(a) for y in _parsed(b))


def _parsed(texts: list[str]) -> Iterator[list[Any]]:
    """What math-verify reads each text as; sympy objects have no common type of their own."""
    for text in texts:
        found = parse(
            f"${text}$",
            extraction_config=_LATEX,
            fallback_mode="no_fallback",
            parsing_timeout=None,
        )
        if found:
            yield found


def _equal(a: list[Any], b: list[Any]) -> bool:
    """Equal in either order: math-verify treats the two sides differently."""
    return any(
        verify(gold, target, float_rounding=_DECIMALS, timeout_seconds=None)
        for gold, target in ((a, b), (b, a))
    )


def _reply_channel() -> BinaryIO:
    """Keep the real stdout for replies; whatever prints afterwards prints nowhere."""
    replies = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return replies


def _write(replies: BinaryIO, reply: dict[str, object]) -> None:
    replies.write(json.dumps(reply).encode() + b"\n")


def _die_with_parent() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def _limit() -> None:
    for limit, value in (
        (resource.RLIMIT_AS, _MEMORY_BYTES),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, _FILES),
    ):
        resource.setrlimit(limit, (value, value))
    sys.setrecursionlimit(_RECURSION)


def _allow_cpu() -> None:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    used = int(usage.ru_utime + usage.ru_stime)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (used + _CPU_S, hard))


if __name__ == "__main__":
    main()

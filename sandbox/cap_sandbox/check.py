"""What an operator asks of a machine: which layers it grants, and do they hold?

Harmless probes run as programs without the policy, so that what answers is the jail alone: each in
a light process and in a heavy one. A probe counts as refused only when the kernel said so, or when
there was nothing to be seen, in both; one that fails in any other way has shown nothing, and counts
as reached.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass

from cap_sandbox.pool import Pool
from cap_sandbox.protocol import Execution, Limits

_LIMITS = Limits(wall_s=10.0)
# By its text a probe needs no more than a light process; the comment asks for a heavy one.
_MARKS = ("", "# sympy\n")

# `attempt` returns what it got hold of; what it cannot do, the kernel answers with an OSError.
_JUDGE = """
try:
    reached = attempt()
except OSError as error:
    answer = f"refused: {error.strerror}"
else:
    answer = f"reached: {reached}" if reached else "refused: nothing to be seen"
"""

PROBES: Mapping[str, str] = {
    "open a file": """
import os
def attempt():
    return os.open("/proc/self/status", os.O_RDONLY)
""",
    "list a directory": """
import os
def attempt():
    return os.listdir("/")
""",
    "see that a file exists": """
import os
def attempt():
    return os.stat("/proc")
""",
    "write to the disk": """
import os
def attempt():
    os.mkdir("/tmp/cap-sandbox-check")
    os.rmdir("/tmp/cap-sandbox-check")
    return "/tmp"
""",
    "make a socket": """
import socket
def attempt():
    return socket.socket()
""",
    "fork": """
import os
def attempt():
    child = os.fork()
    if child == 0:
        os._exit(0)
    return child
""",
    "start another program": """
import os, sys
def attempt():
    os.execv(sys.executable, ["python", "-c", ""])
""",
    # Signal 0 tells whether a signal would be delivered, and delivers none.
    "signal its parent": """
import os
def attempt():
    parent = max(os.getppid(), 1)
    os.kill(parent, 0)
    return parent
""",
    "see other processes": """
import os, time
def attempt():
    for look in (lambda: os.sched_getaffinity(1), lambda: time.clock_gettime((~1 << 3) | 2)):
        try:
            look()
            return "process 1"
        except OSError as error:
            refusal = error
    raise refusal
""",
    "see the environment": """
import ctypes, os
def attempt():
    environ = ctypes.POINTER(ctypes.c_char_p).in_dll(ctypes.CDLL(None), "environ")
    return list(os.environ) or (environ and environ[0])
""",
    "run code of its own making": """
import mmap
def attempt():
    return mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_EXEC)
""",
}
"""What each probe tries, and the program that tries it."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What became of one probe, in the kind of process where more came of it.

    Attributes:
        told: the kernel's words, or what the probe got hold of.
    """

    probe: str
    refused: bool
    told: str


@dataclass(frozen=True, slots=True)
class Report:
    tier: str
    layers: Mapping[str, bool]
    findings: tuple[Finding, ...]

    @property
    def holds(self) -> bool:
        return all(finding.refused for finding in self.findings)

    def as_json(self) -> str:
        return json.dumps({"holds": self.holds, **asdict(self)}, indent=2)

    def as_text(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        yield f"tier  {self.tier}"
        yield ""
        for layer, granted in self.layers.items():
            yield f"  {layer:<18} {'yes' if granted else 'no'}"
        yield ""
        yield "a program that gets past the policy, in either kind of process, tries to"
        for finding in self.findings:
            verdict = "refused" if finding.refused else "REACHED"
            yield f"  {finding.probe:<27} {verdict}  ({finding.told})"
        yield ""
        yield "The sandbox holds here." if self.holds else "The sandbox does NOT hold here."
        if self.tier == "weak":
            yield "Without seccomp the server starts only with CAP_SANDBOX_ALLOW_WEAK=1."


async def check(*, without: tuple[str, ...] = ()) -> Report:
    """Probe this machine.

    Args:
        without: layers to leave out, to see what the others hold.

    Raises:
        PoolError: the sandbox does not even start.
    """
    async with Pool(workers=1, allow_weak=True, without=("policy", *without)) as pool:
        findings = []
        for name, program in PROBES.items():
            light, heavy = [await _probe(pool, name, mark + program) for mark in _MARKS]
            findings.append(_worse(light, heavy))
        return Report(pool.tier, pool.layers, tuple(findings))


def _worse(first: Finding, second: Finding) -> Finding:
    return first if not first.refused or second.refused else second


async def _probe(pool: Pool, name: str, program: str) -> Finding:
    execution = await pool.execute(program + _JUDGE, limits=_LIMITS)
    if execution.value is not None:
        verdict, _, told = execution.value.text.partition(": ")
        return Finding(name, verdict == "refused", told)
    return Finding(name, _killed_at_the_call(execution), _last_line(execution.stderr))


def _killed_at_the_call(execution: Execution) -> bool:
    # A program that did replace itself is `killed` too: for leaving without a report.
    return execution.status == "killed" and "system call" in execution.stderr


def _last_line(text: str) -> str:
    return text.strip().splitlines()[-1] if text.strip() else "it said nothing"

"""Objects that a warm process made immortal cost its children nothing, and nothing else changes."""

from __future__ import annotations

import subprocess
import sys

import pytest

from cap_sandbox import Limits, Pool

LIMITS = Limits(wall_s=20)
HAS_IMMORTAL_OBJECTS = sys.version_info >= (3, 12)
needs_immortal_objects = pytest.mark.skipif(
    not HAS_IMMORTAL_OBJECTS, reason="before Python 3.12 no object is immortal"
)


def run(script: str) -> list[str]:
    """Run a script by itself, because immortal is for ever, and return what it printed."""
    command = [sys.executable, "-c", f"from cap_sandbox import immortal\n{script}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    return done.stdout.split()


FAULTS = """
import gc, os
objects = [[] for _ in range(100_000)]
kept = immortal.keep() if {keep} else 0
gc.freeze()
pid = os.fork()
if pid == 0:
    # A reference more to each.
    copy = objects[:]
    os._exit(0)
print(kept > 100_000, os.wait4(pid, 0)[2].ru_minflt)
"""


@needs_immortal_objects
def test_a_child_that_looks_at_immortal_objects_copies_none_of_their_pages() -> None:
    mortal, many = run(FAULTS.format(keep=False))
    immortal, few = run(FAULTS.format(keep=True))
    assert (mortal, immortal) == ("False", "True")
    # 100,000 lists lie on some 1,700 pages, and their copies' addresses on 200.
    assert int(many) - int(few) > 1_000


REACHED = """
import sys

class Thing:
    '''A text.'''
    shared = ("a tuple", 12345.5, b"bytes", frozenset({"in a set"}))

    def method(self, argument=10**40):
        return lambda: ("a constant", argument)

class Odd(dict):
    def __iter__(self):
        raise SystemExit("a method of the object's class was called")

    @property
    def __class__(self):
        raise SystemExit("an object was asked for its class")

table = Odd({"k" * 50: ["a", "list"]})
immortal.keep()
function = Thing.method
code = function.__code__
inner = next(each for each in code.co_consts if hasattr(each, "co_consts"))
[key] = dict.keys(table)
for each in (
    Thing, Thing.__doc__, Thing.shared, *Thing.shared, *Thing.shared[3], function, code, inner,
    *inner.co_consts, code.co_linetable, *function.__defaults__, table, key, table[key],
):
    print(each is None or sys.getrefcount(each) >= 2**31)
"""


@needs_immortal_objects
def test_all_that_there_is_becomes_immortal_and_no_code_of_it_is_run() -> None:
    assert set(run(REACHED)) == {"True"}


LATER = """
import gc, sys, weakref
class Thing: pass
held = {}
immortal.keep()
immortal.keep()
thing = held["new"] = Thing()
text = "".join(["made ", "later"])
freed = weakref.ref(thing)
print(sys.getrefcount(thing) < 10, sys.getrefcount(text) < 10, freed() is thing)
del thing
held.clear()
print(freed() is None)
thing = Thing()
thing.itself = thing
freed = weakref.ref(thing)
del thing
gc.collect()
print(freed() is None, immortal.keep() < 100)
"""


def test_what_is_made_later_is_counted_and_freed_as_ever() -> None:
    assert set(run(LATER)) == {"True"}


@pytest.mark.skipif(HAS_IMMORTAL_OBJECTS, reason="from Python 3.12 on objects can be immortal")
def test_where_no_object_is_immortal_none_becomes_so() -> None:
    assert run("import sys\nprint(immortal.keep(), sys.getrefcount(sys) < 2**20)") == ["0", "True"]


LIGHT = """
import fractions, sys
found = [fractions.Fraction, fractions.Fraction.limit_denominator.__code__]
"""
HEAVY = (
    LIGHT
    + """
import sympy
found += [sympy.Add, sympy.S.Half, sympy.solve.__code__, sympy.core.cache.CACHE]
"""
)
JUDGE = """
made = ["made"]
answer = [all(sys.getrefcount(each) >= 2**31 for each in found), sys.getrefcount(made) < 10]
"""


@pytest.mark.parametrize("program", [LIGHT, HEAVY], ids=["light", "heavy"])
@pytest.mark.asyncio(loop_scope="session")
async def test_programs_find_what_was_there_before_them_immortal(jail: Pool, program: str) -> None:
    execution = await jail.execute(program + JUDGE, limits=LIMITS)
    assert execution.value is not None, execution.stderr
    assert execution.value.text == str([HAS_IMMORTAL_OBJECTS, True])

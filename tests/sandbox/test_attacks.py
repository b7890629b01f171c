"""Hostile programs get nowhere: past the policy they do not come, past the jail not either."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from cap_sandbox import Execution, Limits, Pool
from tests.sandbox.sections import read_sections

pytestmark = pytest.mark.asyncio(loop_scope="session")

# What the policy has to refuse; `refused.txt` is of all kinds.
REFUSED = ("refused", "walks", "texts", "members", "by_name")
# What goes on as if the policy were gone.
ESCAPED = ("escaped", "kernel")
BOMBS = ("bombs",)
ATTACKS = {name: read_sections(f"attacks/{name}.txt") for name in (*REFUSED, *ESCAPED, *BOMBS)}
# What has a program run in a light process, unless it names what that lacks, or in a heavy one.
MARKS = {"light": "", "heavy": "# sympy\n"}
SECRET = "correct-horse-battery-staple"
LIMITS = Limits(wall_s=0.3, memory_bytes=128 * 1024**2)
LONG = Limits(wall_s=10, memory_bytes=256 * 1024**2)


@dataclass
class Host:
    """What programs would have to reach: files, the network, the environment, this process."""

    folder: Path
    server: socket.socket
    abstract: socket.socket
    signals: list[int] = field(default_factory=list)

    def aim(self, program: str) -> str:
        """Put this host's addresses into `program`."""
        addresses = {
            "{secret_file}": str(self.folder / "secret"),
            "{folder}": str(self.folder),
            "{port}": str(self.server.getsockname()[1]),
            "{abstract}": self.abstract.getsockname()[1:].decode(),
            "{pid}": str(os.getpid()),
        }
        for name, address in addresses.items():
            program = program.replace(name, address)
        return program

    def assert_untouched(self) -> None:
        secret = self.folder / "secret"
        assert [path.name for path in self.folder.iterdir()] == ["secret"]
        assert secret.read_text() == SECRET
        assert secret.stat().st_mode & 0o777 == 0o666
        assert self.signals == []
        assert threading.active_count() < 20
        for listener in (self.server, self.abstract):
            with pytest.raises(BlockingIOError):
                listener.accept()


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    # As easy as can be for anyone who gets out: world-writable, in a path that all may walk.
    for parent in (tmp_path, *tmp_path.parents[:2]):
        parent.chmod(0o777)
    (tmp_path / "secret").write_text(SECRET)
    (tmp_path / "secret").chmod(0o666)
    monkeypatch.setenv("CAP_SECRET", SECRET)
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.socket(socket.AF_UNIX) as abstract,
    ):
        abstract.bind(f"\0cap-attack-{os.getpid()}")
        abstract.listen()
        for listener in (server, abstract):
            listener.setblocking(False)
        aimed = Host(tmp_path, server, abstract)
        before = signal.signal(signal.SIGUSR1, lambda number, frame: aimed.signals.append(number))
        yield aimed
        signal.signal(signal.SIGUSR1, before)


async def assert_serves(pool: Pool) -> None:
    execution = await pool.execute("answer = 6 * 7", limits=Limits(wall_s=10))
    assert execution.value is not None
    assert execution.value.text == "42"


def told(execution: Execution) -> str:
    return f"{execution.value} {execution.stdout} {execution.stderr}"


async def attack(
    pool: Pool, name: str, host: Host, *, limits: Limits, kind: str = "light"
) -> dict[str, Execution]:
    """Run all payloads of a class, each followed by a program that has to be served."""

    async def run(program: str) -> Execution:
        execution = await pool.execute(MARKS[kind] + host.aim(program), limits=limits)
        await assert_serves(pool)
        return execution

    runs = await asyncio.gather(*map(run, ATTACKS[name].values()))
    host.assert_untouched()
    return dict(zip(ATTACKS[name], runs, strict=True))


def assert_nothing_was_had(executions: dict[str, Execution]) -> None:
    """No secret was told, and no program got where it said that it must not get."""
    got = {
        title: told(execution)
        for title, execution in executions.items()
        if SECRET in told(execution)
        or "AssertionError" in execution.stderr
        or execution.wall_s > 3 + LONG.wall_s
    }
    assert not got


def assert_refused(executions: dict[str, Execution]) -> None:
    passed = {title: told(e) for title, e in executions.items() if e.status == "ok" or e.value}
    assert not passed


async def test_there_are_payloads_of_every_class() -> None:
    programs = [program for payloads in ATTACKS.values() for program in payloads.values()]
    assert len(set(programs)) == len(programs) >= 450


@pytest.mark.parametrize("kind", MARKS)
@pytest.mark.parametrize("name", ATTACKS)
async def test_without_the_policy_the_jail_holds(
    name: str, kind: str, jail: Pool, host: Host
) -> None:
    assert_nothing_was_had(await attack(jail, name, host, limits=LIMITS, kind=kind))


@pytest.mark.parametrize("kind", MARKS)
@pytest.mark.parametrize("name", [*REFUSED, *ESCAPED])
async def test_the_policy_lets_nothing_run_of(name: str, kind: str, pool: Pool, host: Host) -> None:
    executions = await attack(pool, name, host, limits=LONG, kind=kind)
    assert_nothing_was_had(executions)
    assert_refused(executions)


@pytest.mark.parametrize("kind", MARKS)
@pytest.mark.parametrize("name", BOMBS)
async def test_the_policy_and_the_jail_hold_together(
    name: str, kind: str, pool: Pool, host: Host
) -> None:
    assert_nothing_was_had(await attack(pool, name, host, limits=LIMITS, kind=kind))


# Not those that would be dangerous on this machine if the policy let them through.
@pytest.mark.parametrize("name", REFUSED)
async def test_without_the_jail_the_policy_refuses(
    name: str, policy_alone: Pool, host: Host
) -> None:
    executions = await attack(policy_alone, name, host, limits=LONG)
    assert_nothing_was_had(executions)
    assert_refused(executions)


@pytest.mark.parametrize(
    "title",
    ["replaces itself", "mounts", "traces the server", "leaves its namespaces", "sets up a ring"],
)
async def test_the_kernel_kills_at_calls_that_no_program_can_want(
    title: str, jail: Pool, host: Host
) -> None:
    execution = await jail.execute(host.aim(ATTACKS["escaped"][title]), limits=LIMITS)
    assert execution.status == "killed"
    assert "system call" in execution.stderr


POISONS = {
    "the decimal context": (
        "import decimal\ndecimal.getcontext().prec = 2\ndecimal.DefaultContext.prec = 2",
        "from decimal import Decimal\nanswer = Decimal(1) / 3",
        "0.3333333333333333333333333333",
    ),
    "the random state": (
        "import random\nrandom.seed(5)\nrandom.random()",
        "import random\nanswer = random.random()",
        None,
    ),
    "a module": ("import math\nmath.pi = 3", "import math\nanswer = math.pi", "3.141592653589793"),
    "a builtin": ("import builtins\nbuiltins.sum = len", "answer = sum([5])", "5"),
    "mpmath's precision": (
        "from mpmath import mp\nmp.dps = 3",
        "from mpmath import mp\nanswer = mp.dps",
        "15",
    ),
    "numpy's print options": (
        "import numpy as np\nnp.set_printoptions(precision=1)",
        "import numpy as np\nprint(np.array([0.123456]))",
        "[0.123456]",
    ),
    "sympy's assumptions": (
        "import sympy\nsympy.core.cache.clear_cache()\nsympy.Integer.__add__ = lambda a, b: 7",
        "import sympy\nanswer = sympy.Integer(1) + sympy.Integer(1)",
        "2",
    ),
}


@pytest.mark.parametrize("title", POISONS)
async def test_no_program_poisons_for_the_next(title: str, jail: Pool) -> None:
    poison, probe, expected = POISONS[title]
    if expected is None:
        clean = await jail.execute(probe, limits=Limits(wall_s=10))
        expected = clean.value.text if clean.value else ""
    for _ in range(3):
        await jail.execute(poison, limits=Limits(wall_s=10))
    for _ in range(3):
        execution = await jail.execute(probe, limits=Limits(wall_s=10))
        assert execution.value is not None, execution.stderr
        assert execution.value.text == expected

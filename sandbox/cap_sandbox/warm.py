"""A warm process, as the pool sees it: started, listened to, replaced when it dies."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import socket
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from cap_sandbox.child import Child, Ended, LostError
from cap_sandbox.errors import PoolError
from cap_sandbox.kinds import Kind
from cap_sandbox.memory import MemoryGroup
from cap_sandbox.protocol import Spent

_MAX_MESSAGE = 4096
_START_S = 60.0
# A fork takes milliseconds; on a machine that is loaded to the brim, a second.
_FORK_S = 20.0
_FIRST_BACK_OFF_S = 0.1
_LONGEST_BACK_OFF_S = 5.0
# A warm process that lived this long was a good one: the next back-off starts anew.
_GOOD_LIFE_S = 30.0

_ENVIRONMENT = {
    "LANG": "C.UTF-8",
    # Programs run alike every time, sets of texts included.
    "PYTHONHASHSEED": "0",
    # One thread each: a forked child has no other, and cores are shared out by the pool.
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    # All symbols are bound at once: else each child would bind those that it uses, again.
    "LD_BIND_NOW": "1",
    "PYTHONPATH": str(Path(__file__).resolve().parent.parent),
}


@dataclass
class _Life:
    """One process, from its start to its end."""

    process: subprocess.Popen[bytes]
    control: socket.socket
    children: dict[int, Child] = field(default_factory=dict)


class WarmProcess:
    """Forks single-use children on demand, and is started again whenever it dies.

    Args:
        kind: what it and its children have loaded.
        without: layers that its children leave out.
        group: the control group that it runs in.

    Attributes:
        bounded: whether it runs in `group`.
        forking: how many children are on their way.
    """

    def __init__(
        self, kind: Kind, *, without: tuple[str, ...], group: MemoryGroup | None = None
    ) -> None:
        self._kind = kind
        self.tier = "weak"
        self.bounded = False
        self.forking = 0
        self._group = group
        self.layers: dict[str, bool] = {}
        self._without = without
        self._life: _Life | None = None
        self._alive = asyncio.Event()
        self._ids = itertools.count()
        self._supervisor: asyncio.Task[None] | None = None

    @property
    def alive(self) -> bool:
        return self._alive.is_set()

    async def start(self) -> None:
        """Start the process, and keep one running from now on.

        Raises:
            PoolError: it did not become ready.
        """
        life = await self._begin()
        self._supervisor = asyncio.create_task(self._supervise(life))

    async def stop(self) -> None:
        """Kill the process and all its children; wait until it is gone."""
        if self._supervisor is not None:
            self._supervisor.cancel()
            with suppress(asyncio.CancelledError):
                await self._supervisor

    async def fork(self) -> Child:
        """Return a new child that is shut in and waits for its program.

        Raises:
            LostError: it ended before that.
        """
        self.forking += 1
        try:
            await self._alive.wait()
            life = self._life
            if life is None:
                raise LostError
            return await self._ready_child(life)
        finally:
            self.forking -= 1

    async def _ready_child(self, life: _Life) -> Child:
        child = self._fork(life)
        try:
            async with asyncio.timeout(_FORK_S):
                await child.wait_ready()
        except TimeoutError:
            # It hangs: its children get nothing done either, and end with it.
            life.process.kill()
            child.discard()
            raise LostError from None
        except BaseException:
            child.discard()
            raise
        return child

    def _fork(self, life: _Life) -> Child:
        number = next(self._ids)
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        child = Child(
            ours,
            kill=lambda: self._kill(life, number),
            abandon=life.process.kill,
            may_hand_over=self._kind == "light",
        )
        life.children[number] = child
        with theirs:
            message = json.dumps({"fork": number}).encode()
            try:
                socket.send_fds(life.control, [message], [theirs.fileno()])
            except OSError as error:
                del life.children[number]
                ours.close()
                raise LostError from error
        return child

    def _kill(self, life: _Life, number: int) -> None:
        try:
            life.control.send(json.dumps({"kill": number}).encode())
        except OSError:
            # It is gone and has taken its children with it, or it hangs and shall do so.
            life.process.kill()

    async def _supervise(self, life: _Life) -> None:
        back_off_s = _FIRST_BACK_OFF_S
        clock = asyncio.get_running_loop().time
        while True:
            born = clock()
            await self._listen(life)
            if clock() - born > _GOOD_LIFE_S:
                back_off_s = _FIRST_BACK_OFF_S
            life, back_off_s = await self._begin_again(back_off_s)

    async def _begin_again(self, back_off_s: float) -> tuple[_Life, float]:
        while True:
            await asyncio.sleep(back_off_s)
            back_off_s = min(2 * back_off_s, _LONGEST_BACK_OFF_S)
            with suppress(PoolError):
                return await self._begin(), back_off_s

    async def _begin(self) -> _Life:
        life = _spawn(self._kind, self._without)
        self._join_group(life.process.pid)
        try:
            async with asyncio.timeout(_START_S):
                message = await _receive(life.control)
        except TimeoutError as error:
            await _bury(life)
            raise PoolError(f"the sandbox was not ready after {_START_S:g} s") from error
        except BaseException:
            await _bury(life)
            raise
        if message is None or "ready" not in message:
            await _bury(life)
            raise PoolError("the sandbox's warm process ended before it was ready")
        self._greet(life, cast("dict[str, object]", message["ready"]))
        return life

    def _join_group(self, pid: int) -> None:
        if self._group is None:
            return
        try:
            self._group.add(pid)
            self.bounded = True
        except OSError:
            self.bounded = False

    def _greet(self, life: _Life, ready: dict[str, object]) -> None:
        self.tier = str(ready["tier"])
        self.layers = cast("dict[str, bool]", ready["layers"])
        self._life = life
        self._alive.set()

    async def _listen(self, life: _Life) -> None:
        """Hear of children's ends until the process itself ends, then bury it."""
        try:
            while (message := await _receive(life.control)) is not None:
                child = life.children.pop(cast("int", message["ended"]))
                child.ended.set_result(_ended(message))
        finally:
            self._alive.clear()
            self._life = None
            await _bury(life)


def _ended(message: dict[str, object]) -> Ended:
    return Ended(
        code=cast("int | None", message["code"]),
        spent=Spent(cast("float", message["cpu_s"]), cast("int", message["peak_memory_bytes"])),
    )


async def _receive(control: socket.socket) -> dict[str, object] | None:
    """Return the next message; None when there will be none."""
    try:
        data = await asyncio.get_running_loop().sock_recv(control, _MAX_MESSAGE)
    except OSError:
        return None
    return cast("dict[str, object]", json.loads(data)) if data else None


def _spawn(kind: Kind, without: tuple[str, ...]) -> _Life:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    command = [sys.executable, "-P", "-s", "-B", "-m", "cap_sandbox.zygote"]
    environment = dict(_ENVIRONMENT)
    if "LD_LIBRARY_PATH" in os.environ:
        environment["LD_LIBRARY_PATH"] = os.environ["LD_LIBRARY_PATH"]
    with theirs:
        try:
            process = subprocess.Popen(
                [*command, str(theirs.fileno()), kind, *without],
                pass_fds=[theirs.fileno()],
                env=environment,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                # Ctrl-C in a terminal is for the server, which ends this process in its own time.
                start_new_session=True,
            )
        except OSError as error:
            ours.close()
            raise PoolError("the sandbox's warm process could not be started") from error
    return _Life(process, ours)


async def _bury(life: _Life) -> None:
    life.process.kill()
    life.control.close()
    for child in life.children.values():
        if not child.ended.done():
            child.ended.set_result(Ended(None))
    life.children.clear()
    # The kernel takes milliseconds to take a killed process apart.
    await asyncio.shield(asyncio.to_thread(life.process.wait))

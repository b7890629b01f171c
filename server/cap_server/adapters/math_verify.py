"""Equality of answers: the house's own rules, and math-verify in a child process beyond them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections import OrderedDict
from collections.abc import Sequence
from types import TracebackType
from typing import Self

import structlog

from cap_server import answers
from cap_server.domain import Answer

_CHILD = "cap_server.adapters.symbolic"
_LONGEST = 2000
"""Characters of a formula that is compared symbolically; longer ones only as they are written."""

_WAITING = 64
"""Comparisons under way and waiting; more are not worth their wait and count as different."""

_REMEMBERED = 4096
_START_S = 60.0
_END_S = 5.0

Pair = tuple[tuple[str, ...], tuple[str, ...]]
_log = structlog.get_logger(__name__)


class MathVerify:
    """Implements `Equality`.

    One child process compares one pair at a time. It is started at the first pair that needs it,
    and replaced when it does not answer in time. A caller that is cancelled leaves its comparison
    running to its end, so answers and questions cannot get out of step.
    """

    def __init__(self, *, timeout_s: float = 2.0) -> None:
        """Args: timeout_s: seconds for one symbolic comparison; then the two count as different."""
        self._timeout_s = timeout_s
        self._lock = asyncio.Lock()
        self._process: asyncio.subprocess.Process | None = None
        self._asked = 0
        self._running: dict[Pair, asyncio.Task[bool]] = {}
        self._decided: OrderedDict[Pair, bool] = OrderedDict()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._stop()

    async def same(self, a: Answer, b: Answer) -> bool:
        """Whether two answers mean the same, as `docs/answers.md` defines it."""
        verdict = answers.same(a, b)
        return await self._symbolically(a, b) if verdict is None else verdict

    async def option(self, answer: Answer, choices: Sequence[str]) -> Answer | None:
        """The letter of the choice that `answer` names or equals; None when it is none of them."""
        place = answers.option(answer.text, choices)
        if place is None:
            place = await self._only_equal(answer, choices)
        return None if place is None else Answer(answers.letter(place))

    async def _only_equal(self, answer: Answer, choices: Sequence[str]) -> int | None:
        values = answers.unlabelled(choices)
        places = [
            place for place, text in enumerate(values) if await self.same(answer, Answer(text))
        ]
        return places[0] if len(places) == 1 else None

    async def _symbolically(self, a: Answer, b: Answer) -> bool:
        pair = _pair(a, b)
        if pair in self._decided:
            self._decided.move_to_end(pair)
            return self._decided[pair]
        task = self._running.get(pair)
        if task is None:
            if len(self._running) >= _WAITING or not all(pair):
                return False
            task = asyncio.create_task(self._decide(pair))
            self._running[pair] = task
            task.add_done_callback(lambda _: self._running.pop(pair, None))
        return await asyncio.shield(task)

    async def _decide(self, pair: Pair) -> bool:
        async with self._lock:
            verdict = await self._ask(pair)
        self._decided[pair] = verdict
        if len(self._decided) > _REMEMBERED:
            self._decided.popitem(last=False)
        return verdict

    async def _ask(self, pair: Pair) -> bool:
        """Put one pair to the child; replace a child that is late, gone or out of its mind."""
        self._asked += 1
        request = {"id": self._asked, "a": pair[0], "b": pair[1]}
        try:
            process = self._process or await self._start()
            async with asyncio.timeout(self._timeout_s):
                reply = await _exchange(process, json.dumps(request).encode() + b"\n")
            if reply.get("id") != self._asked:
                raise ValueError("out of step")
        except (OSError, ValueError) as error:
            _log.info("symbolic_comparison_failed", reason=repr(error))
            await self._stop()
            return False
        except asyncio.CancelledError:
            self._kill()
            raise
        return reply.get("same") is True

    async def _start(self) -> asyncio.subprocess.Process:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-I", "-m", _CHILD,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={},
            start_new_session=True,
        )  # fmt: skip
        async with asyncio.timeout(_START_S):
            await _exchange(self._process, b"")
        return self._process

    def _kill(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()

    async def _stop(self) -> None:
        self._kill()
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_END_S):
                    await process.communicate()


def _pair(a: Answer, b: Answer) -> Pair:
    """The LaTeX forms of both, in an order that does not depend on theirs."""
    first, second = sorted((_forms(a), _forms(b)))
    return first, second


def _forms(answer: Answer) -> tuple[str, ...]:
    texts = (answer.text,) if answer.latex is None else (answer.latex, answer.text)
    forms = (answers.latex(text) for text in texts if len(text) <= _LONGEST)
    return tuple(dict.fromkeys(form for form in forms if form))


async def _exchange(process: asyncio.subprocess.Process, request: bytes) -> dict[str, object]:
    """Write a line and read one.

    Raises:
        OSError: the child is gone, or late.
        ValueError: it answered no JSON object.
    """
    if process.stdin is None or process.stdout is None:
        raise ConnectionError("no pipes")
    process.stdin.write(request)
    await process.stdin.drain()
    line = await process.stdout.readline()
    if not line:
        raise ConnectionError("the child ended")
    reply = json.loads(line)
    if not isinstance(reply, dict):
        raise ValueError("not an object")
    return reply

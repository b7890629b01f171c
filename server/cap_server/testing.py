"""Models and a sandbox that do as they are told, for tests of whatever uses the ports."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

from cap_server.domain import ChatReply, Execution, Limits, Prompt, Sample, Sampling, Value
from cap_server.errors import CapError


class ScriptedModel:
    """Draw i is `script[i]`: a text, a whole sample, or an error to raise; draws past it repeat it.

    Attributes:
        prompts: what was asked, in order.
        samplings: how each was to be drawn, in the same order.
        cancelled: how many draws were cancelled.

    Args:
        script: at least one entry.
        delay_s: how long every draw takes.
    """

    def __init__(
        self,
        script: Sequence[str | Sample | CapError],
        *,
        name: str = "scripted",
        delay_s: float = 0,
    ) -> None:
        self.prompts: list[Prompt] = []
        self.samplings: list[Sampling] = []
        self.cancelled = 0
        self._script = script
        self._name = name
        self._delay_s = delay_s

    @property
    def name(self) -> str:
        return self._name

    async def sample(self, prompt: Prompt, *, sampling: Sampling, draw: int) -> Sample:
        self.prompts.append(prompt)
        self.samplings.append(sampling)
        try:
            await asyncio.sleep(self._delay_s)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        entry = self._script[draw % len(self._script)]
        if isinstance(entry, CapError):
            raise entry
        return entry if isinstance(entry, Sample) else Sample(entry)

    async def check(self) -> None:
        return None


class ScriptedChat:
    """Answer i is `script[i]`: a text, a whole reply, or an error to raise; more repeat it.

    Attributes:
        bodies: what was asked, in order.
        cancelled: how many answers were cancelled.
    """

    def __init__(
        self,
        script: Sequence[str | ChatReply | CapError],
        *,
        name: str = "scripted-chat",
        delay_s: float = 0,
    ) -> None:
        self.bodies: list[Mapping[str, Any]] = []
        self.cancelled = 0
        self._script = script
        self._name = name
        self._delay_s = delay_s

    @property
    def name(self) -> str:
        return self._name

    async def complete(self, body: Mapping[str, Any]) -> ChatReply:
        entry = self._script[len(self.bodies) % len(self._script)]
        self.bodies.append(body)
        try:
            await asyncio.sleep(self._delay_s)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if isinstance(entry, CapError):
            raise entry
        if isinstance(entry, ChatReply):
            return entry
        choice = {"message": {"role": "assistant", "content": entry}, "finish_reason": "stop"}
        content = json.dumps({"object": "chat.completion", "choices": [choice]}).encode()
        return ChatReply(entry, content=content)

    async def stream(self, body: Mapping[str, Any]) -> AsyncGenerator[bytes, None]:
        reply = await self.complete(body)
        for word in reply.text.split(" "):
            delta = {"choices": [{"index": 0, "delta": {"content": word}}]}
            yield f"data: {json.dumps(delta)}\n\n".encode()
        yield b"data: [DONE]\n\n"


class FakeSandbox:
    """Runs nothing: looks a program's execution up.

    Attributes:
        executed: the programs, in order.

    Args:
        executions: by program. An int stands for an execution that came to it.
        failure: raised by every call instead, when given.
    """

    def __init__(
        self, executions: Mapping[str, Execution | int], *, failure: CapError | None = None
    ) -> None:
        self.executed: list[str] = []
        self._executions = executions
        self._failure = failure

    async def execute(self, program: str, *, limits: Limits) -> Execution:
        if self._failure is not None:
            raise self._failure
        self.executed.append(program)
        found = self._executions.get(program, Execution("error", stderr="not in the script"))
        if isinstance(found, int):
            return Execution("ok", Value("int", str(found)))
        return found

    async def check(self) -> str:
        if self._failure is not None:
            raise self._failure
        return "fake"

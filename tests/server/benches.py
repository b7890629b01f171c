"""How these tests build a bench or a refinement around scripted parts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

from cap_server.adapters.math_verify import MathVerify
from cap_server.domain import (
    Answer,
    Budget,
    Execution,
    Limits,
    Prior,
    Problem,
    Refinement,
    Sample,
    Sampling,
)
from cap_server.errors import CapError
from cap_server.ports import ChatModel, Model, Sandbox
from cap_server.prompts import PROMPT_FORMATS
from cap_server.refiner import refine
from cap_server.strategies import Strategy
from cap_server.testing import FakeSandbox, ScriptedModel
from cap_server.tools import Tools
from cap_server.workbench import Workbench

PROBLEM = Problem("What is 6 times 3?", prior=Prior(cot="6 * 3 = 26. The answer is 26."))


async def until(condition: Callable[[], object]) -> None:
    """Return once `condition` holds, which nobody announces."""
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110  # no event: see above
            await asyncio.sleep(0.001)


def tools(
    model: Model,
    sandbox: Sandbox,
    *,
    cot_model: Model | None = None,
    max_tokens: int = 512,
    chats: Sequence[ChatModel] = (),
) -> Tools:
    return Tools(
        model=model,
        prompt_format=PROMPT_FORMATS["trained"],
        sandbox=sandbox,
        equality=MathVerify(),
        cot_model=cot_model,
        max_tokens=max_tokens,
        chat_models={chat.name: chat for chat in chats},
        chat_writer=chats[-1] if chats else None,
    )


def bench(
    model: Model,
    sandbox: Sandbox,
    *,
    cot_model: Model | None = None,
    sampling: Sampling | None = None,
    budget: Budget | None = None,
    deadline_s: float = 10,
) -> Workbench:
    return Workbench(
        tools(model, sandbox, cot_model=cot_model),
        sampling=sampling or Sampling(),
        budget=budget or Budget(),
        limits=Limits(),
        deadline=asyncio.get_running_loop().time() + deadline_s,
    )


def programs_that_come_to(
    *answers: int | None,
) -> tuple[list[str | Sample | CapError], FakeSandbox]:
    """A script of programs and the sandbox that knows their answers; None is one that fails."""
    script: list[str | Sample | CapError] = [f"answer={a}  # {i}" for i, a in enumerate(answers)]
    executions: Mapping[str, Execution | int] = {
        str(text): Execution("error") if a is None else a
        for text, a in zip(script, answers, strict=True)
    }
    return script, FakeSandbox(executions)


async def refinement(
    strategy: Strategy,
    answers: Sequence[int | None],
    *,
    prior: int | None = 26,
    budget: Budget | None = None,
) -> Refinement:
    """What `strategy` makes of programs that come to `answers`, given a prior answer."""
    script, sandbox = programs_that_come_to(*answers)
    answer = None if prior is None else Answer(str(prior))
    return await refine(
        Problem("What is 6 times 3?", prior=Prior(answer=answer)),
        tools=tools(ScriptedModel(script), sandbox),
        strategy=strategy,
        sampling=Sampling(),
        budget=budget or Budget(),
        limits=Limits(),
    )

"""The model's server that all contestants of `peers.py` speak to: it answers after a set delay.

A process of its own, so that it takes no time from those that are measured. The model `writer`
answers with a CoT, every other one with a program; no two programs have the same text.

    GET  /seen      what it saw: {"asked": 12, "left": 1, "most_at_once": 8}, and forgets it
    POST /behave    {"delay_s": 1.0, "status": 429}: how it answers from now on
"""

from __future__ import annotations

import asyncio
import itertools
import json
from dataclasses import dataclass, field
from typing import Annotated, Any

import typer
import uvicorn
from starlette.types import Receive, Scope, Send

COT = "Natalia sold 12 clips a day for 2 days, and gave 6 away: 12 * 2 = 24, 24 - 6 = 18."
GREETING = "Hello! What can I do for you today?"
RETRY_AFTER_S = 7
_HEAD = [(b"content-type", b"application/json")]


@dataclass
class Upstream:
    """An ASGI app. Attributes: asked, left: requests, and those whose client did not wait."""

    delay_s: float
    status: int = 200
    asked: int = 0
    left: int = 0
    at_once: int = 0
    most_at_once: int = 0
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        if scope["path"] == "/seen":
            await _answer(send, 200, self._seen())
        elif scope["path"] == "/v1/models":
            await _answer(send, 200, {"data": [{"id": "cap"}, {"id": "writer"}]})
        elif scope["path"] == "/behave":
            told = await _body(receive)
            self.delay_s, self.status = told["delay_s"], told["status"]
            await _answer(send, 200, {})
        else:
            await self._complete(await _body(receive), receive, send)

    def _seen(self) -> dict[str, int]:
        seen = {"asked": self.asked, "left": self.left, "most_at_once": self.most_at_once}
        self.asked = self.left = self.most_at_once = 0
        return seen

    async def _complete(self, body: dict[str, Any], receive: Receive, send: Send) -> None:
        self.asked += 1
        if self.status != 200:
            await _answer(send, self.status, {"error": {"message": "told to", "type": "x"}})
            return
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            async with asyncio.timeout(self.delay_s):
                while (await receive())["type"] != "http.disconnect":
                    pass
                self.left += 1
                return
        except TimeoutError:
            await _answer(send, 200, self._completion(body))
        finally:
            self.at_once -= 1

    def _completion(self, body: dict[str, Any]) -> dict[str, Any]:
        choices = [
            {
                "index": index,
                "message": {"role": "assistant", "content": self._text(body)},
                "finish_reason": "stop",
            }
            for index in range(body.get("n") or 1)
        ]
        usage = {"prompt_tokens": 60, "completion_tokens": 40, "total_tokens": 100}
        return {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1_790_000_000,
            "model": body["model"],
            "choices": choices,
            "usage": usage,
        }

    def _text(self, body: dict[str, Any]) -> str:
        if body["model"] == "writer":
            greets = "hello" in body["messages"][-1]["content"]
            return GREETING if greets else f"{COT} The answer is 18."
        number = next(self._numbers)
        return f"sold_{number} = 12 * 2\nleft = sold_{number} - 6\nanswer = left"


async def _body(receive: Receive) -> dict[str, Any]:
    content = b""
    while True:
        message = await receive()
        content += message.get("body", b"")
        if not message.get("more_body", False):
            body: dict[str, Any] = json.loads(content)
            return body


async def _answer(send: Send, status: int, body: object) -> None:
    content = json.dumps(body).encode()
    head = [*_HEAD, (b"content-length", str(len(content)).encode())]
    if status == 429:
        head.append((b"retry-after", str(RETRY_AFTER_S).encode()))
    await send({"type": "http.response.start", "status": status, "headers": head})
    await send({"type": "http.response.body", "body": content})


def main(
    port: Annotated[int, typer.Option(help="On 127.0.0.1.")],
    delay: Annotated[float, typer.Option(help="Seconds before an answer.")],
) -> None:
    uvicorn.run(
        Upstream(delay), host="127.0.0.1", port=port, log_level="warning", access_log=False,
        lifespan="off", backlog=4096,
    )  # fmt: skip


if __name__ == "__main__":
    typer.run(main)

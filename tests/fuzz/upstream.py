"""A model's server that answers at once, a process of its own: cases are to cost nothing but ours.

What it answers is drawn from `TEXTS` by what it was asked, so that a request repeats exactly.
"""

from __future__ import annotations

import json
import sys
import zlib
from typing import Any

import uvicorn
from starlette.types import Receive, Scope, Send

MODEL, WRITER = "fuzzed", "writer"

PROGRAMS = (
    "answer=18",
    "answer = 6*3",
    "answer=26",
    "import sympy as sp\nanswer = sp.Rational(36, 2)",
    "answer = 1/0",
    "```python\nanswer = [1, {'a': 2.5}]\n```",
    "print('18')",
    "",
)
COTS = (
    "6 * 3 = 18. The answer is 18.",
    "6 * 3 = 26. The answer is 26.",
    "Hello! What can I do for you?",
    "So it is $\\boxed{18}$.",
    "#### 18",
)


_YES, _NO = {"token": "yes", "logprob": -0.1}, {"token": "no", "logprob": -2.5}
_LOGPROBS = {**_YES, "top_logprobs": [_YES, _NO]}


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] != "http":
        return
    if scope["method"] == "GET":
        await _answer(send, {"data": [{"id": MODEL}, {"id": WRITER}]})
        return
    content = await _body(receive)
    body: dict[str, Any] = json.loads(content)
    texts = COTS if body["model"] == WRITER else PROGRAMS
    text = texts[zlib.crc32(content) % len(texts)]
    if body.get("stream"):
        await _stream(send, text)
    else:
        await _answer(send, _completion(body, text))


def _completion(body: dict[str, Any], text: str) -> dict[str, Any]:
    completion: dict[str, Any] = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_790_000_000,
        "model": body["model"],
        "choices": [
            {
                "index": index,
                "message": {"role": "assistant", "content": text, "reasoning_content": None},
                "finish_reason": "stop",
                "logprobs": {"content": [_LOGPROBS]} if body.get("logprobs") is True else None,
            }
            for index in range(body.get("n") or 1)
        ],
        "usage": {
            "prompt_tokens": 2,
            "completion_tokens": 5,
            "total_tokens": 7,
            "completion_tokens_details": {"reasoning_tokens": 0},
        },
    }
    if "prompt_logprobs" in body:
        completion["prompt_logprobs"] = [None, *({"1": {"logprob": -0.5}} for _ in range(9))]
    return completion


async def _stream(send: Send, text: str) -> None:
    delta = {"choices": [{"index": 0, "delta": {"content": text}}]}
    frames = f"data: {json.dumps(delta)}\n\ndata: [DONE]\n\n".encode()
    await _send(send, frames, "text/event-stream")


async def _body(receive: Receive) -> bytes:
    content: bytes = b""
    while True:
        message = await receive()
        content += message.get("body", b"")
        if not message.get("more_body", False):
            return content


async def _answer(send: Send, body: object) -> None:
    await _send(send, json.dumps(body).encode(), "application/json")


async def _send(send: Send, content: bytes, media_type: str) -> None:
    headers = [(b"content-type", media_type.encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": content})


if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]), log_level="warning", access_log=False, lifespan="off")

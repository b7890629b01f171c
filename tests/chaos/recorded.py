"""The upstream: a process that answers each draw with the program recorded for its seed.

Hedged, retried and repeated draws of one seed get the same program, so what the draws of a request
say is known before it is sent.
"""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import suppress
from typing import Any

from tests.chaos.questions import VARIANTS, program, question_in

MODEL = "recorded"
_SLOWEST_S = 0.05
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError, asyncio.IncompleteReadError):
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            length = head.lower().partition("content-length:")[2].partition("\r\n")[0]
            body = await reader.readexactly(int(length or 0))
            content = json.dumps(await _answer(head, body)).encode()
            writer.write(_HEAD % len(content) + content)
            await writer.drain()
    writer.close()


async def _answer(head: str, body: bytes) -> dict[str, Any]:
    if head.startswith("GET"):
        return {"data": [{"id": MODEL}]}
    asked = json.loads(body)
    seed = int(asked.get("seed") or 0)
    await asyncio.sleep(_SLOWEST_S * (seed % 7) / 7)
    question = question_in(asked["messages"][-1]["content"])
    text = program(question, seed % VARIANTS) if question else "answer = 42"
    choice = {"index": 0, "message": {"content": text}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 30, "completion_tokens": 20}
    return {"model": MODEL, "choices": [choice], "usage": usage}


async def _main(host: str, port: int) -> None:
    server = await asyncio.start_server(_serve, host, port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], int(sys.argv[2])))

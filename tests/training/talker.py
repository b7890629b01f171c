"""A model on a real socket, whose replies a test writes."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

CUT_OFF = "…"
"""A reply that ends so has reached its most tokens."""


@dataclass(frozen=True)
class Asked:
    """A request.

    Attributes:
        message: its last message.
        nth: how often that was asked before.
        seed, temperature: of the draw.
    """

    message: str
    nth: int
    seed: int
    temperature: float


Reply = Callable[[Asked], str | float]
"""A text; or P(yes), where log-probabilities are asked for."""


@dataclass
class Talker:
    """Attributes: asked: all requests so far, in the order in which they came."""

    url: str
    asked: list[Asked] = field(default_factory=list)


@contextmanager
def talking(reply: Reply) -> Iterator[Talker]:
    """Serves a model called `cap` while the block runs."""
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._send({"object": "list", "data": [{"id": "cap", "object": "model"}]})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            message = body["messages"][-1]["content"]
            with lock:
                nth = sum(each.message == message for each in talker.asked)
                asked = Asked(message, nth, body.get("seed") or 0, body["temperature"])
                talker.asked.append(asked)
            self._send(_completion(reply(asked)))

        def log_message(self, format: str, *args: object) -> None:
            pass

        def _send(self, body: object) -> None:
            content = json.dumps(body).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128

        def handle_error(self, request: object, client_address: object) -> None:
            """Says nothing of clients that are killed."""

    with Server(("127.0.0.1", 0), Handler) as server:
        talker = Talker(f"http://127.0.0.1:{server.server_port}/v1")
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield talker
        finally:
            server.shutdown()
            thread.join()


def _completion(reply: str | float) -> dict[str, Any]:
    text = reply if isinstance(reply, str) else "yes" if reply > 0.5 else "no"
    choice: dict[str, Any] = {
        "index": 0,
        "message": {"role": "assistant", "content": text.removesuffix(CUT_OFF)},
        "finish_reason": "length" if text.endswith(CUT_OFF) else "stop",
    }
    if isinstance(reply, float):
        likely = [
            {"token": "yes", "logprob": math.log(reply)},
            {"token": "no", "logprob": math.log(1 - reply)},
        ]
        first = next(each for each in likely if each["token"] == text)
        choice["logprobs"] = {"content": [first | {"top_logprobs": likely}]}
    usage = {"prompt_tokens": 7, "completion_tokens": 5}
    return {"choices": [choice], "usage": usage}

"""Start vLLM as a child process, wait until it answers, and leave nothing of it behind.

async with Engine(options) as engine:
    await engine.ready(timeout_s=300, progress=print)
    ...  # engine.base_url speaks the OpenAI API
"""

from cap_server.engine.about import About, about
from cap_server.engine.launch import EngineError, EngineOptions, runs_on_gpu
from cap_server.engine.process import Engine

__all__ = ["About", "Engine", "EngineError", "EngineOptions", "about", "runs_on_gpu"]

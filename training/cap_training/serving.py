"""A model folder in vLLM, for as long as it is needed; or a server that runs already."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from cap_server.engine import About, Engine, EngineOptions, about, runs_on_gpu
from cap_server.settings import Settings

_TOO_BUSY_FOR_MORE = 64
_PATIENCE_S = 600.0
"""A machine that trains meanwhile answers late, and nobody waits at the screen."""


@dataclass(frozen=True)
class Server:
    """An OpenAI-compatible server, and what it calls the model.

    Attributes:
        about: what the model's folder says of itself, as `cap up` reads it.
    """

    url: str
    name: str
    about: About = field(default_factory=About)

    def settings(self) -> Settings:
        """The CaP server's settings for this model; the rest comes from `CAP_*` as ever."""
        own: dict[str, Any] = self.about.settings(given=Settings().model_fields_set)
        return Settings(
            **own,
            model_url=self.url,
            model=self.name,
            prompt_format="trained",
            model_connections=_TOO_BUSY_FOR_MORE,
            model_timeout_s=_PATIENCE_S,
            model_connect_timeout_s=_PATIENCE_S / 10,
        )


class Serve(Protocol):
    """Serves the model in a folder while the block runs."""

    def __call__(
        self, model: Path, *, say: Callable[[str], None]
    ) -> AbstractAsyncContextManager[Server]: ...


@asynccontextmanager
async def reached(
    model: Path | None, url: str | None, name: str, *, say: Callable[[str], None]
) -> AsyncIterator[Server]:
    """The API at `url`, which calls the model `name`; or, without one, `model` in vLLM."""
    if model is None:
        yield Server(str(url), name)
    else:
        async with served(model, say=say) as server:
            yield server


@asynccontextmanager
async def served(model: Path, *, say: Callable[[str], None]) -> AsyncIterator[Server]:
    """Starts vLLM with the model in the folder `model`, and stops it in the end.

    Raises:
        EngineError: vLLM is not installed or does not start.
    """
    settings = Settings()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    settings.state_dir.mkdir(parents=True, exist_ok=True)
    options = EngineOptions(
        python=settings.engine_python,
        model=model,
        served_name="cap",
        port=port,
        log=settings.state_dir / f"engine-{port}.log",
        cache=settings.state_dir / "engine-cache",
        gpu=runs_on_gpu(settings.engine_python),
    )
    async with Engine(options) as engine:
        say(f"Starting vLLM with {model}.")
        await engine.ready(timeout_s=settings.engine_timeout_s, progress=lambda _what: None)
        yield Server(engine.base_url, options.served_name, about(model))

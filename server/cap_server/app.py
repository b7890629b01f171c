"""Builds everything and joins it: the one place that knows the adapters and the HTTP side."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import replace
from functools import partial

import httpx
from fastapi import FastAPI
from prometheus_client import CollectorRegistry
from pydantic import SecretStr

from cap_sandbox import Pool
from cap_server import __version__
from cap_server.adapters.chat import UpstreamChat
from cap_server.adapters.local_sandbox import LocalSandbox
from cap_server.adapters.math_verify import MathVerify
from cap_server.adapters.remote_sandbox import RemoteSandbox, sandbox_client
from cap_server.adapters.replicas import Replicas
from cap_server.adapters.upstream import Upstream, model_client
from cap_server.adapters.vllm import VLLMModel
from cap_server.admission import Admission, MeasuredSandbox
from cap_server.api import routers
from cap_server.api.access_log import AccessLog
from cap_server.api.body_limit import BodyLimit
from cap_server.api.door import Door
from cap_server.api.errors import install_error_handlers
from cap_server.api.faults import Faults
from cap_server.api.house import House
from cap_server.batches.batches import Batches
from cap_server.critics import Contrastive, Generative, Likelihood, RewardModel
from cap_server.domain import CriticName
from cap_server.ending import Ending
from cap_server.keys import Keyring, Turnstile
from cap_server.observing import (
    NO_TRACES,
    CircuitFigures,
    Metrics,
    ObservedChat,
    ObservedCritic,
    ObservedModel,
    ObservedRequests,
    ObservedSandbox,
    PoolFigures,
    Refinements,
    Traces,
    open_traces,
)
from cap_server.ports import Critic, Sandbox
from cap_server.prompts import PROMPT_FORMATS
from cap_server.settings import Settings
from cap_server.stores import Stores
from cap_server.tools import Tools
from cap_server.trust import Ledger

_DESCRIPTION = """\
Refines any model's chain of thought (CoT) with programs: send a question and an answer, get the
corrected answer with the program that proves it."""


def create_app(
    settings: Settings,
    *,
    tools: AbstractAsyncContextManager[Tools] | None = None,
    stores: Stores | None = None,
) -> FastAPI:
    """The server.

    Args:
        settings: the operator's.
        tools: opened while the server runs, instead of those that `settings` ask for.
        stores: what is kept across restarts; None: trust in memory only, keys of `settings` only.
    """
    metrics = Metrics(CollectorRegistry())
    traces = open_traces(settings.traces_url) if settings.traces else NO_TRACES
    keyring = Keyring(settings.given_keys(), stores.keys if stores else None)
    turnstile = Turnstile(per_minute=settings.key_per_minute, at_once=settings.key_at_once)
    admission = Admission(
        most=settings.model_connections if settings.admission else None,
        queue=settings.admission_queue,
    )
    metrics.registry.register(PoolFigures(admission.figures))

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        patterns = stores.patterns if stores else None
        ledger = Ledger(patterns, reliability=settings.model_reliability)
        batches = Batches(
            stores.batches if stores else None,
            at_once=settings.batch_at_once,
            kept_s=settings.batch_kept_s,
            kept_bytes=settings.batch_kept_bytes,
        )
        async with (
            tools or open_tools(settings) as opened,
            ledger.running(),
            keyring.running(),
            batches.running(),
        ):
            observed = _observed(opened, settings, metrics=metrics, traces=traces)
            measured = replace(
                observed, sandbox=MeasuredSandbox(observed.sandbox, admission.waited)
            )
            app.state.ending = Ending()
            app.state.house = House(
                settings,
                measured,
                ledger,
                keyring,
                turnstile,
                batches,
                metrics,
                admission,
                app.state.ending,
            )
            yield
        await asyncio.to_thread(traces.close)

    app = FastAPI(
        title="CaP server", version=__version__, description=_DESCRIPTION, lifespan=lifespan
    )
    for router in routers:
        app.include_router(router)
    install_error_handlers(app)
    app.add_middleware(
        BodyLimit,
        most_bytes=settings.max_body_bytes,
        most_bytes_at={"/v1/refine/batch": settings.batch_max_body_bytes},
    )
    app.add_middleware(
        Door, keyring=keyring, turnstile=turnstile, host=settings.host, open_=settings.open
    )
    app.add_middleware(Faults)
    app.add_middleware(ObservedRequests, metrics=metrics, traces=traces)
    app.add_middleware(AccessLog)
    return app


@asynccontextmanager
async def open_tools(settings: Settings) -> AsyncIterator[Tools]:
    """The models, the sandbox and the comparison of answers that `settings` ask for.

    Raises:
        PoolError: the sandbox cannot start on this machine.
    """
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(
            model_client(
                connections=settings.model_connections,
                read_timeout_s=settings.model_timeout_s,
                connect_timeout_s=settings.model_connect_timeout_s,
            )
        )
        upstream, cot, replicas = _models(settings, client)
        model = VLLMModel(upstream)
        chats = [UpstreamChat(each) for each in (upstream, cot) if each is not None]
        # A model that was trained to refine writes programs only: nothing to answer a client with.
        talks = cot is not None or settings.prompt_format == "few_shot"
        yield Tools(
            model=model,
            prompt_format=PROMPT_FORMATS[settings.prompt_format],
            sandbox=await stack.enter_async_context(_open_sandbox(settings)),
            equality=await stack.enter_async_context(MathVerify()),
            cot_model=VLLMModel(cot) if cot else None,
            critics=_critics(settings, client, model),
            max_tokens=settings.max_tokens,
            chat_models={chat.name: chat for chat in chats},
            chat_writer=chats[-1] if talks else None,
            replicas={role: each.figures for role, each in replicas.items()},
        )


def _observed(tools: Tools, settings: Settings, *, metrics: Metrics, traces: Traces) -> Tools:
    """`tools` that count and trace what they do."""
    if isinstance(tools.sandbox, LocalSandbox):
        metrics.registry.register(PoolFigures(tools.sandbox.figures))
    metrics.registry.register(CircuitFigures(tools.replicas))
    observe = partial(ObservedModel, metrics=metrics, traces=traces)
    critics = {
        name: ObservedCritic(critic, name=name, metrics=metrics, traces=traces)
        for name, critic in tools.critics.items()
    }
    observe_chat = partial(ObservedChat, metrics=metrics, traces=traces)
    return replace(
        tools,
        model=observe(tools.model, role="cap"),
        cot_model=observe(tools.cot_model, role="cot") if tools.cot_model else None,
        sandbox=ObservedSandbox(tools.sandbox, metrics=metrics, traces=traces),
        critics=critics,
        chat_models={name: observe_chat(chat) for name, chat in tools.chat_models.items()},
        chat_writer=observe_chat(tools.chat_writer) if tools.chat_writer else None,
        refined=Refinements(metrics, log_content=settings.log_content),
    )


@asynccontextmanager
async def _open_sandbox(settings: Settings) -> AsyncIterator[Sandbox]:
    if settings.sandbox_url is not None:
        connections = settings.sandbox_connections
        async with sandbox_client(settings.sandbox_url, connections=connections) as client:
            yield RemoteSandbox(client)
        return
    pool_of_programs = Pool(
        workers=settings.sandbox_workers,
        memory_bytes=settings.sandbox_memory_bytes,
        allow_weak=settings.sandbox_allow_weak,
    )
    async with pool_of_programs as pool:
        yield LocalSandbox(pool)


def _models(
    settings: Settings, client: httpx.AsyncClient
) -> tuple[Upstream, Upstream | None, Mapping[str, Replicas]]:
    """The CaP model, the one that writes CoTs, and the servers of each role.

    Models on the same servers share what is known of those.
    """
    of_cap = Replicas(settings.model_url.split(","))
    timeout_s, hedge = settings.model_total_timeout_s, settings.model_hedge
    open_ = partial(Upstream, client, total_timeout_s=timeout_s, hedge=hedge)
    key = _secret(settings.model_api_key)
    cap = open_(url=of_cap, name=settings.model, api_key=key)
    if settings.cot_model is None:
        return cap, None, {"cap": of_cap}
    if settings.cot_model_url is None:
        return cap, open_(url=of_cap, name=settings.cot_model, api_key=key), {"cap": of_cap}
    of_cot, own_key = Replicas(settings.cot_model_url.split(",")), settings.cot_model_api_key
    cot = open_(url=of_cot, name=settings.cot_model, api_key=_secret(own_key))
    return cap, cot, {"cap": of_cap, "cot": of_cot}


def _critics(
    settings: Settings, client: httpx.AsyncClient, model: VLLMModel
) -> Mapping[CriticName, Critic]:
    prompt_format = PROMPT_FORMATS[settings.prompt_format]
    critics: dict[CriticName, Critic] = {
        "generative": Generative(model, prompt_format),
        "likelihood": Likelihood(model, prompt_format),
        "contrastive": Contrastive(model, prompt_format),
    }
    if settings.reward_model is not None:
        critics["reward_model"] = RewardModel(
            client,
            url=str(settings.reward_model_url),
            name=settings.reward_model,
            api_key=_secret(settings.reward_model_api_key),
        )
    return critics


def _secret(value: SecretStr | None) -> str | None:
    return value.get_secret_value() if value else None

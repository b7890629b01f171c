"""`GET /v1/sources`: what the server learns from refinements, each key for itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import httpx
from pydantic import SecretStr

from cap_server.settings import Settings

Scripted = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]

ONE, TWO = ({"Authorization": f"Bearer {key}"} for key in ("one", "two"))


async def sources(client: httpx.AsyncClient, headers: dict[str, str]) -> dict[str, Any]:
    listed: dict[str, Any] = (await client.get("/v1/sources", headers=headers)).json()
    return {each["source"]: each for each in listed["data"]}


async def test_a_source_is_learned_from_agreement_and_known_to_its_key_only(
    scripted: Scripted,
) -> None:
    async with scripted(18, settings=Settings(api_keys=SecretStr("one,two"))) as client:
        for n in range(60):
            source, says = ("right", 18) if n % 2 else ("wrong", 26)
            body = {"question": "6 * 3?", "answer": str(says), "source": source}
            assert (await client.post("/v1/refine", json=body, headers=ONE)).status_code == 200
        async with asyncio.timeout(20):
            while not (learned := await sources(client, ONE)):  # noqa: ASYNC110  # no event
                await asyncio.sleep(0.05)
        assert await sources(client, TWO) == {}
    right, wrong = learned["right"], learned["wrong"]
    assert right["accuracy"] > 0.9 > 0.5 > wrong["accuracy"]
    assert right["low"] < right["accuracy"] < right["high"]
    assert right["requests"] + wrong["requests"] <= 60


async def test_nobody_without_a_key_sees_them(scripted: Scripted) -> None:
    async with scripted(18, settings=Settings(api_keys=SecretStr("one"))) as client:
        assert (await client.get("/v1/sources")).status_code == 401


async def test_an_open_server_has_one_tenant_and_says_whether_it_keeps_what_it_learns(
    scripted: Scripted,
) -> None:
    async with scripted(18) as client:
        listed = (await client.get("/v1/sources")).json()
    assert listed == {
        "object": "list",
        "data": [],
        "model": {"concentration": 0.5, "reliability": 0.95},
        "stored": False,
    }

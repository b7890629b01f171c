"""How well the model tells right CoTs from wrong ones: its `yes` against its `no`."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from typing import Any

import httpx

from cap_server.settings import Settings
from cap_training.data.rows import ask_critic
from cap_training.evaluate.items import Item
from cap_training.failures import TrainingError

_TOP = 20  # vLLM's limit


async def judgements(
    settings: Settings, items: Sequence[Item], *, at_once: int
) -> list[tuple[float, bool]]:
    """For every item with a CoT: P(yes), and whether the CoT is right.

    Items where the model considers neither word are left out.
    """
    gate = asyncio.Semaphore(at_once)
    key = settings.model_api_key
    headers = {"Authorization": f"Bearer {key.get_secret_value()}"} if key else {}
    url = f"{str(settings.model_url).rstrip('/')}/chat/completions"

    async with httpx.AsyncClient(headers=headers, timeout=300) as client:

        async def judged(item: Item) -> tuple[float, bool] | None:
            question = ask_critic(item.question, item.cot or "")
            body = {
                "model": settings.model,
                "messages": [{"role": "user", "content": question}],
                "max_tokens": 1,
                "temperature": 0,
                "logprobs": True,
                "top_logprobs": _TOP,
            }
            async with gate:
                score = p_yes(await _first_token(client, url, body))
            return None if score is None else (score, item.condition == "right")

        asked = [item for item in items if item.cot is not None]
        found = await asyncio.gather(*(judged(item) for item in asked))
    return [each for each in found if each is not None]


def p_yes(likely: Sequence[Mapping[str, Any]]) -> float | None:
    """P(yes) / (P(yes) + P(no)) from the first token's candidates; None where both are missing.

    Args:
        likely: `token` and `logprob` of each, as the API lists them. A tokenizer may begin either
            word with a part of it.
    """
    total = {"yes": 0.0, "no": 0.0}
    for candidate in likely:
        start = str(candidate["token"]).strip().lower()
        for word in total:
            if start and word.startswith(start):
                total[word] += math.exp(candidate["logprob"])
    both = sum(total.values())
    return total["yes"] / both if both > 0 else None


async def _first_token(
    client: httpx.AsyncClient, url: str, body: Mapping[str, Any]
) -> list[dict[str, Any]]:
    try:
        response = await client.post(url, json=body)
        response.raise_for_status()
        content = response.json()["choices"][0]["logprobs"]["content"]
        return list(content[0]["top_logprobs"]) if content else []
    except (httpx.HTTPError, ValueError, KeyError, TypeError, IndexError) as error:
        raise TrainingError(f"{url} gives no log-probabilities: {error!r}") from error

"""The real vLLM with the model that ships."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from cap_server.engine import Engine

pytestmark = pytest.mark.engine


async def test_the_small_model_writes_a_program_and_a_verdict(engine: Engine) -> None:
    question = "Question: Tom had 16 apples and ate 3. He sells the rest for 2 dollars each. "
    prior = "How much does he earn?\nAnswer: 16 - 3 = 12, 12 * 2 = 24. The answer is 24."
    body = {
        "model": "cap-small",
        "messages": [{"role": "user", "content": question + prior}],
        "temperature": 0,
        "logprobs": True,
    }
    async with httpx.AsyncClient(base_url=engine.base_url, timeout=60, trust_env=False) as client:
        answer = (await client.post("chat/completions", json=body)).raise_for_status().json()
    program = answer["choices"][0]["message"]["content"]
    assert "answer=" in program
    assert "# prior:" in program
    assert answer["choices"][0]["logprobs"]["content"]


async def test_seeded_prompts_that_fill_a_batch_do_not_end_the_engine(engine: Engine) -> None:
    """Twice the tokens of a batch, all seeded: cut prompts killed vLLM 0.32 on a CPU."""
    prompt = "Question: " + "Tom has 3 apples and buys 4 more. " * 60
    async with httpx.AsyncClient(base_url=engine.base_url, timeout=100, trust_env=False) as client:
        asked = (
            client.post(
                "completions",
                json={"model": "cap-small", "prompt": f"{i} {prompt}", "max_tokens": 8, "seed": i},
            )
            for i in range(24)
        )
        answers = await asyncio.gather(*asked)
    assert {answer.status_code for answer in answers} == {200}

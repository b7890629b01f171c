"""Real clients of OpenAI's API against the real server, the real vLLM and the small model."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from cap_server.example import EXAMPLE

pytestmark = [pytest.mark.engine, pytest.mark.timeout(300)]

NODE = Path(__file__).parent / "openai_node"
PAGE = (Path(__file__).parents[2] / "docs" / "openai.md").read_text("utf-8")
CORRECTED = f"The answer is {EXAMPLE.answer}."
MESSAGES: Any = [
    {"role": "user", "content": EXAMPLE.question},
    {"role": "assistant", "content": EXAMPLE.cot},
]


@pytest.fixture
def client(url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        yield client


def test_the_python_client_gets_a_corrected_answer(client: openai.OpenAI) -> None:
    completion = client.chat.completions.create(model="cap:majority", messages=MESSAGES, seed=1)
    choice = completion.choices[0]
    assert choice.message.content == CORRECTED
    assert choice.model_extra is not None
    assert choice.model_extra["cap"]["decision"] == "corrected"
    assert completion.usage is not None
    assert completion.usage.total_tokens > 0


def test_the_python_client_gets_it_streamed(client: openai.OpenAI) -> None:
    content, reasoning, finished, usage = "", "", None, None
    for chunk in client.chat.completions.create(
        model="cap:majority",
        messages=MESSAGES,
        seed=1,
        stream=True,
        stream_options={"include_usage": True},
    ):
        usage = chunk.usage or usage
        for choice in chunk.choices:
            content += choice.delta.content or ""
            reasoning += (choice.delta.model_extra or {}).get("reasoning_content") or ""
            finished = choice.finish_reason or finished
    assert (content, finished) == (CORRECTED, "stop")
    assert "```python" in reasoning
    assert usage is not None
    assert usage.total_tokens > 0


def test_the_python_client_gets_n_answers(client: openai.OpenAI) -> None:
    completion = client.chat.completions.create(
        model="cap:majority", messages=MESSAGES, n=2, seed=1
    )
    assert [choice.index for choice in completion.choices] == [0, 1]
    assert {choice.message.content for choice in completion.choices} == {CORRECTED}


def test_the_python_clients_errors_are_its_own(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="no model"):
        client.chat.completions.create(model="gpt-9", messages=MESSAGES)
    with pytest.raises(openai.BadRequestError, match="tools cannot be refined"):
        client.chat.completions.create(
            model="cap",
            messages=MESSAGES,
            tools=[{"type": "function", "function": {"name": "f"}}],
        )


def test_the_upstreams_own_model_streams_unrefined(client: openai.OpenAI) -> None:
    asked: Any = [{"role": "user", "content": f"Question: {EXAMPLE.question}"}]
    whole = client.chat.completions.create(model="cap-small", messages=asked, temperature=0)
    stream = client.chat.completions.create(
        model="cap-small", messages=asked, temperature=0, stream=True
    )
    pieces = [chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices]
    assert len(pieces) > 2
    assert "".join(pieces) == whole.choices[0].message.content


async def test_langchain_gets_a_corrected_answer_whole_and_streamed(url: str) -> None:
    chat = ChatOpenAI(
        model="cap:majority", base_url=f"{url}/v1", api_key=SecretStr("none"), seed=1, max_retries=0
    )
    messages: list[BaseMessage] = [HumanMessage(EXAMPLE.question), AIMessage(EXAMPLE.cot)]
    assert (await chat.ainvoke(messages)).content == CORRECTED
    pieces = [str(chunk.content) async for chunk in chat.astream(messages)]
    assert "".join(pieces) == CORRECTED


def test_the_node_client_gets_a_corrected_answer_whole_streamed_and_refused(
    url: str, tmp_path: Path
) -> None:
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("node and npm are not installed")
    shutil.copytree(NODE, tmp_path, dirs_exist_ok=True)
    installing = [npm, "ci", "--no-audit", "--no-fund"]
    subprocess.run(installing, cwd=tmp_path, check=True, capture_output=True, timeout=120)
    asking = [node, "client.mjs", url, json.dumps(MESSAGES)]
    ran = subprocess.run(asking, cwd=tmp_path, capture_output=True, timeout=120, check=False)
    assert ran.returncode == 0, ran.stderr.decode()
    told = json.loads(ran.stdout)
    assert told["content"] == told["streamed"] == told["output"] == CORRECTED
    assert told["decision"] == "corrected"
    assert "```python" in told["reasoning"]
    assert told["refused"] == {"status": 404, "code": "model_not_found", "param": "model"}


def test_the_pages_example_runs_as_it_is(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    example = PAGE.partition("```python\n")[2].partition("```")[0]
    assert EXAMPLE.question in example
    exec(example.replace("http://127.0.0.1:8000", url), {})
    assert "The answer is" in capsys.readouterr().out


async def metric(engine: httpx.AsyncClient, name: str) -> int:
    """What vLLM counts under `name`."""
    found = re.search(
        rf"^vllm:{name}\{{.*\}} ([\d.e+]+)$", (await engine.get("/metrics")).text, re.M
    )
    assert found is not None
    return int(float(found[1]))


# More draws than the engine takes at once, and longer ones than it would write by itself.
HOT = {"temperature": 2.0, "top_p": 1.0, "max_tokens": 200}
MANY = {"strategy": {"name": "majority", "programs": 64}, "sampling": HOT}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/refine", {"question": EXAMPLE.question, "cot": EXAMPLE.cot, **MANY}),
        ("/v1/chat/completions", {"model": "cap", "messages": MESSAGES, "cap": MANY}),
        (
            "/v1/chat/completions",
            {
                "model": "cap-small",
                "messages": MESSAGES[:1],
                "n": 8,
                "max_tokens": 600,
                "ignore_eos": True,
            },
        ),
    ],
    ids=["refine", "cap", "upstream"],
)
async def test_a_client_that_leaves_ends_the_generations_in_vllm(
    url: str, engine_url: str, path: str, body: dict[str, Any]
) -> None:
    async with (
        httpx.AsyncClient(base_url=engine_url.removesuffix("/v1"), timeout=60) as engine,
        httpx.AsyncClient(base_url=url, timeout=60) as client,
    ):
        for _ in range(3):  # how long draws are is chance, and how soon this process gets to leave
            before = await metric(engine, "generation_tokens_total")
            await client.post(path, json=body)
            after = await metric(engine, "generation_tokens_total")
            async with client.stream("POST", path, json={**body, "stream": True}) as response:
                await anext(response.aiter_bytes())
            async with asyncio.timeout(30):
                while await metric(engine, "num_requests_running"):  # noqa: ASYNC110  it is asked
                    await asyncio.sleep(0.01)
            left = await metric(engine, "generation_tokens_total")
            if left - after < 0.7 * (after - before):
                return
    pytest.fail("what was left unread was generated")

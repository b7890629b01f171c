"""A reward model behind vLLM's pooling API: an outcome or a process reward model, or a classifier.

`POST /pooling` with the question and the candidate as a conversation. A process reward model says
something of every step; the last one counts.
"""

from __future__ import annotations

import math
from typing import Any

import httpx
import structlog
from pydantic import BaseModel, ValidationError

from cap_server.domain import Candidate, Judgement, Problem, Usage
from cap_server.errors import CriticUnavailableError
from cap_server.prompts import with_choices

_log = structlog.get_logger(__name__)


class _Pooled(BaseModel):
    data: Any


class _Usage(BaseModel):
    prompt_tokens: int = 0


class _Pooling(BaseModel):
    data: list[_Pooled]
    usage: _Usage = _Usage()


class RewardModel:
    """The reward through the logistic function; of a pair of probabilities, that of right.

    Args:
        client: from `model_client`; closed by whoever opened it.
        url: the server's root; `/pooling` and a trailing `/v1` are its own affair.
        name: the model, as the server names it.
        api_key: sent as a bearer token; None to send none.
    """

    def __init__(
        self, client: httpx.AsyncClient, *, url: str, name: str, api_key: str | None = None
    ) -> None:
        self._client = client
        self._url = f"{url.rstrip('/').removesuffix('/v1')}/pooling"
        self._name = name
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}

    async def judge(self, problem: Problem, candidate: Candidate) -> Judgement:
        messages = [
            {"role": "user", "content": with_choices(problem)},
            {"role": "assistant", "content": candidate.text},
        ]
        body = {"model": self._name, "messages": messages}
        try:
            response = await self._client.post(self._url, json=body, headers=self._headers)
            response.raise_for_status()
            pooling = _Pooling.model_validate_json(response.content)
            score = _score(pooling.data[0].data)
        except httpx.HTTPStatusError as error:
            # Not `repr(error)`: it holds the URL, which may hold a password.
            status, said = error.response.status_code, error.response.text[:500]
            _log.warning("reward_model_refused", status=status, body=said)
            raise CriticUnavailableError("The reward model cannot be asked.") from error
        except httpx.HTTPError as error:
            _log.warning("reward_model_down", error=repr(error))
            raise CriticUnavailableError("The reward model cannot be asked.") from error
        except (ValidationError, ValueError, IndexError, TypeError) as error:
            _log.warning(
                "reward_model_garbage", bytes=len(response.content), body=response.text[:500]
            )
            raise CriticUnavailableError("The reward model answers no reward.") from error
        return Judgement(score, Usage(prompt_tokens=pooling.usage.prompt_tokens))


def _score(data: Any) -> float:  # noqa: ANN401  # nested lists of whatever depth the pooler has
    """The reward in `data`: a number, or lists of them, one for each token or step.

    Two numbers are the probabilities of wrong and right, where they add up to 1.

    Raises:
        ValueError: it holds no number.
    """
    while isinstance(data, list) and data and isinstance(data[-1], list):
        data = data[-1]
    rewards = [float(each) for each in (data if isinstance(data, list) else [data])]
    if not rewards or math.isnan(rewards[-1]):
        raise ValueError("no reward")
    if len(rewards) == 2 and abs(sum(rewards) - 1) < 1e-3 and min(rewards) >= 0:
        return rewards[1]
    return _logistic(rewards[-1])


def _logistic(reward: float) -> float:
    return 1 / (1 + math.exp(-max(-50.0, min(50.0, reward))))

"""Admission: limits that are learned, turns that are fair, and refusals that tell the truth."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from contextlib import nullcontext
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from cap_server.admission import Admission, cost_of
from cap_server.admission.fair_queue import FairQueue, Room, Waiting
from cap_server.admission.limit import GradientLimit
from cap_server.app import create_app
from cap_server.domain import Budget, Prompt, Sample, Sampling
from cap_server.errors import ModelUnavailableError, OverloadedError
from cap_server.settings import Settings
from cap_server.strategies import STRATEGIES
from cap_server.testing import FakeSandbox, ScriptedModel
from tests.server.benches import tools, until
from tests.server.conftest import listening


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def under_load(
    limit: GradientLimit, clock: Clock, *, demand: float, capacity: float, seconds: int
) -> None:
    """Run a model that slows down in proportion once more than `capacity` is asked of it."""
    luck = random.Random(7)
    for _ in range(seconds * 20):
        clock.now += 0.05
        in_use = min(demand, limit.value)
        latency_s = 0.01 * max(1.0, in_use / capacity) * luck.uniform(0.9, 1.1)
        limit.sample(latency_s, in_use=in_use)


def a_limit(*, least: int = 16, most: int = 256) -> tuple[GradientLimit, Clock]:
    clock = Clock()
    return GradientLimit(least=least, most=most, clock=clock), clock


def test_a_limit_starts_at_the_most_and_stays_while_nothing_slows_down() -> None:
    limit, clock = a_limit()
    for demand in (3, 100, 250):
        under_load(limit, clock, demand=demand, capacity=1000, seconds=60)
        assert limit.value == 256


@pytest.mark.parametrize("capacity", [30, 60])
def test_a_limit_falls_to_what_is_borne_and_grows_again_with_it(capacity: int) -> None:
    limit, clock = a_limit()
    under_load(limit, clock, demand=capacity / 2, capacity=capacity, seconds=60)
    under_load(limit, clock, demand=1000, capacity=capacity, seconds=60)
    assert capacity / 2 < limit.value < 3.5 * capacity
    fallen = limit.value
    under_load(limit, clock, demand=1000, capacity=1000, seconds=120)
    assert limit.value > 1.5 * fallen


def test_a_limit_does_not_move_for_what_it_did_not_hold_back() -> None:
    limit, clock = a_limit()
    under_load(limit, clock, demand=20, capacity=100, seconds=60)
    under_load(limit, clock, demand=20, capacity=2, seconds=60)  # slow, and not for the number
    assert limit.value == 256


def test_refusals_lower_a_limit_once_in_a_window() -> None:
    limit, clock = a_limit()
    for _ in range(100):
        limit.refused()
    assert limit.value == pytest.approx(230.4)
    for _ in range(200):
        clock.now += 1.1
        limit.refused()
        limit.refused()
    assert limit.value == 16


def served(queue: FairQueue, *, most: int) -> list[Waiting]:
    found = []
    for _ in range(most):
        item = queue.pop(lambda _: "yes")
        if item is None:
            break
        found.append(item)
    return found


def test_a_tenant_with_many_gets_no_more_than_one_with_few() -> None:
    queue = FairQueue()
    for _ in range(100):
        queue.push(Waiting("many", 3))
    for _ in range(5):
        queue.push(Waiting("few", 3))
    assert Counter(each.tenant for each in served(queue, most=10)) == {"many": 5, "few": 5}


def test_shares_are_of_cost_and_not_of_number() -> None:
    queue = FairQueue()
    for _ in range(100):
        queue.push(Waiting("large", 8))
        queue.push(Waiting("small", 1))
    spent: Counter[str] = Counter()
    for each in served(queue, most=90):
        spent[each.tenant] += int(each.cost)
    assert abs(spent["large"] - spent["small"]) <= 8


def test_a_tenants_small_requests_do_not_wait_for_all_its_large_ones() -> None:
    queue = FairQueue()
    for _ in range(50):
        queue.push(Waiting("one", 64))
    queue.push(Waiting("one", 1))
    assert 1 in [each.cost for each in served(queue, most=2)]


def test_waiting_earns_nothing_while_away() -> None:
    queue = FairQueue()
    for _ in range(50):
        queue.push(Waiting("busy", 4))
    served(queue, most=40)
    for _ in range(20):
        queue.push(Waiting("late", 4))
    assert Counter(each.tenant for each in served(queue, most=10)) == {"busy": 5, "late": 5}


def test_while_there_is_no_room_for_the_next_nobody_slips_in() -> None:
    queue = FairQueue()
    queue.push(Waiting("large", 8))
    served(queue, most=0)
    queue.push(Waiting("small", 1))

    def room(item: Waiting) -> Room:
        return "no" if item.cost == 8 else "yes"

    assert queue.pop(room) is None
    assert queue.pop(lambda item: "not_for_large" if item.cost == 8 else "yes") is not None
    assert len(queue) == 1


def test_every_strategy_has_a_cost() -> None:
    costs = {name: cost_of(cls(), Budget()) for name, cls in STRATEGIES.items()}
    assert costs == {
        "adaptive": 3, "single": 1, "pot": 8, "best_of_n": 8, "bonbon": 4, "majority": 8,
        "agreement": 3, "prove": 8, "iterate": 1,
    }  # fmt: skip
    assert cost_of(STRATEGIES["majority"](), Budget(programs=2)) == 2


class Held:
    """Refinements that keep their places until they are told to end."""

    def __init__(self, admission: Admission) -> None:
        self.admission = admission
        self.inside: list[str] = []
        self.end = asyncio.Event()

    async def __call__(
        self, tenant: str = "t", *, cost: int = 4, within_s: float = 1000, patient: bool = False
    ) -> None:
        place = self.admission.place(tenant, cost=cost, within_s=within_s, patient=patient)
        async with place:
            self.inside.append(tenant)
            await self.end.wait()

    def starts(self, tenant: str = "t", *, n: int = 1, **more: Any) -> list[asyncio.Task[None]]:  # noqa: ANN401
        return [asyncio.create_task(self(tenant, **more)) for _ in range(n)]


async def settled() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_so_many_are_inside_and_the_rest_wait_or_are_refused_at_once() -> None:
    held = Held(Admission(most=16, queue=3))
    inside = held.starts(n=4)
    await settled()
    waiting = held.starts(n=3)
    await settled()
    assert len(held.inside) == 4
    with pytest.raises(OverloadedError) as refused:
        await held()
    assert refused.value.retry_after_s == 1
    held.end.set()
    await asyncio.gather(*inside, *waiting)
    assert len(held.inside) == 7


async def test_how_long_to_wait_follows_how_long_places_are_held() -> None:
    clock = Clock()
    admission = Admission(most=16, queue=0, clock=clock)
    for _ in range(100):
        async with admission.place("t", cost=4, within_s=1000):
            clock.now += 20
    held = Held(admission)
    inside = held.starts(n=4)
    await settled()
    with pytest.raises(OverloadedError) as refused:
        await held(cost=4)
    assert refused.value.retry_after_s == 5  # 4 of 16 draws, each held for 20 s
    held.end.set()
    await asyncio.gather(*inside)


async def test_who_cannot_be_served_in_time_is_told_at_once() -> None:
    clock = Clock()
    admission = Admission(most=16, queue=100, clock=clock)
    for _ in range(100):
        async with admission.place("t", cost=16, within_s=1000):
            clock.now += 20
    held = Held(admission)
    inside = held.starts(n=4)
    await settled()
    with pytest.raises(OverloadedError):
        await held(within_s=4.9)
    held.end.set()
    await asyncio.gather(*inside)


async def test_a_place_that_comes_too_late_is_a_refusal() -> None:
    held = Held(Admission(most=16, queue=100))
    inside = held.starts(n=4)
    await settled()
    with pytest.raises(OverloadedError):
        await held(cost=1, within_s=0.1)
    held.end.set()
    await asyncio.gather(*inside)
    await held(cost=16)


async def test_who_has_most_waiting_makes_room_for_others() -> None:
    held = Held(Admission(most=16, queue=4))
    inside = held.starts("big", n=4)
    await settled()
    waiting = held.starts("big", n=4)
    await settled()
    other = held.starts("other")
    await settled()
    refused = [each for each in waiting if each.done()]
    assert len(refused) == 1
    with pytest.raises(OverloadedError):
        refused[0].result()
    held.end.set()
    await asyncio.gather(*inside, *other, *(each for each in waiting if each not in refused))
    assert held.inside.count("other") == 1


async def test_patient_ones_wait_besides_and_are_never_pushed_out() -> None:
    held = Held(Admission(most=16, queue=1))
    started = held.starts("batch", n=30, patient=True)
    await settled()
    assert len(held.inside) == 4
    started += held.starts("one")
    await settled()
    with pytest.raises(OverloadedError):
        await held("one")
    held.end.set()
    await asyncio.gather(*started)
    assert held.inside.index("one") < 12


async def test_small_ones_find_room_beside_large_ones() -> None:
    held = Held(Admission(most=64, queue=100))
    started = held.starts("large", n=50, cost=16)
    await settled()
    assert len(held.inside) == 3
    started += held.starts("large", cost=1) + held.starts("other", n=3, cost=3)
    await settled()
    assert held.inside[3:] == ["large", "other", "other", "other"]
    held.end.set()
    await asyncio.gather(*started)


async def test_one_that_weighs_more_than_the_limit_comes_in_too() -> None:
    admission = Admission(most=16, queue=1)
    async with (
        admission.place("t", cost=1000, within_s=1),
        admission.place("t", cost=4, within_s=1),
    ):
        assert admission.limit == 16


@pytest.mark.parametrize("when", ["waiting", "granted", "inside"])
async def test_who_leaves_gives_back_what_he_has(when: str) -> None:
    held = Held(Admission(most=16, queue=100))
    inside = held.starts(n=4)
    await settled()
    leaving = held.starts(n=3)
    await settled()
    if when == "granted":  # the place and the end of waiting come in one step
        for each in inside:
            each.cancel()
    elif when == "inside":
        leaving = inside
    for each in leaving:
        each.cancel()
    await asyncio.gather(*leaving, return_exceptions=True)
    held.end.set()
    await asyncio.gather(*inside, return_exceptions=True)
    async with asyncio.timeout(10):
        again = [asyncio.create_task(held(within_s=1)) for _ in range(4)]
        await asyncio.gather(*again)


async def test_a_model_that_has_no_room_lowers_the_limit() -> None:
    admission = Admission(most=100, queue=1)
    with pytest.raises(ModelUnavailableError):
        async with admission.place("t", cost=1, within_s=1):
            raise ModelUnavailableError("full")
    assert admission.limit == 90


async def test_switched_off_it_lets_everything_through() -> None:
    held = Held(Admission(most=None, queue=0))
    started = held.starts(n=500, cost=64)
    await settled()
    assert len(held.inside) == 500
    held.end.set()
    await asyncio.gather(*started)


class GatedModel(ScriptedModel):
    def __init__(self) -> None:
        super().__init__(["answer=18"])
        self.gate = asyncio.Event()

    async def sample(self, prompt: Prompt, *, sampling: Sampling, draw: int) -> Sample:
        sample = await super().sample(prompt, sampling=sampling, draw=draw)
        await self.gate.wait()
        return sample


async def test_over_sockets_the_crowd_is_refused_and_another_key_is_served() -> None:
    model = GatedModel()
    settings = Settings(
        api_keys=SecretStr("crowd,other"), model_connections=16, admission_queue=4, batch_at_once=8
    )
    given = tools(model, FakeSandbox({"answer=18": 18}))
    app = create_app(settings, tools=nullcontext(given))
    body = {"question": "6 * 3?", "strategy": {"name": "majority", "programs": 4}}
    crowd, other = ({"Authorization": f"Bearer {key}"} for key in ("crowd", "other"))
    async with listening(app) as url, httpx.AsyncClient(base_url=url, timeout=60) as client:

        async def ask(headers: dict[str, str], path: str, asked: dict[str, Any]) -> httpx.Response:
            return await client.post(path, json=asked, headers=headers)

        asking = [asyncio.ensure_future(ask(crowd, "/v1/refine", body)) for _ in range(12)]
        await until(lambda: sum(each.done() for each in asking) == 4)
        refused = [each.result() for each in asking if each.done()]
        assert {each.status_code for each in refused} == {429}
        assert all(int(each.headers["Retry-After"]) >= 1 for each in refused)
        assert {each.json()["error"]["code"] for each in refused} == {"overloaded"}
        streamed = await ask(crowd, "/v1/refine", {**body, "stream": True})
        assert streamed.status_code == 429
        served = asyncio.ensure_future(ask(other, "/v1/refine", body))
        problems = {"problems": [{"question": "x"}] * 20, "strategy": "single"}
        batch = asyncio.ensure_future(ask(other, "/v1/refine/batch", problems))
        await until(lambda: sum(each.done() for each in asking) == 5)  # one made room for the other
        model.gate.set()
        assert (await served).status_code == 200
        lines = [json.loads(line) for line in (await batch).text.splitlines() if line]
        assert (len(lines), lines[-1]["failed"]) == (21, 0)
        scraped = (await client.get("/metrics")).text
        assert "cap_admission_refused_total 6.0" in scraped
        assert "cap_admission_limit 16.0" in scraped
        statuses = Counter(each.status_code for each in await asyncio.gather(*asking))
    assert statuses == {200: 7, 429: 5}

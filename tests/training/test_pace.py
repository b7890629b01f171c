"""Budgets, and the learning rate that ends with them."""

from __future__ import annotations

import pytest

from cap_training.budget import Clock, seconds, spoken
from cap_training.pace import Pace


class SetClock(Clock):
    """A clock that shows what it is set to."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0

    def elapsed_s(self) -> float:
        return self.now_s


@pytest.mark.parametrize(
    ("text", "expected"),
    [("90s", 90), ("10m", 600), ("1h30m", 5400), ("1.5h", 5400), ("45", 45), ("2d", 172_800)],
)
def test_durations_are_read(text: str, expected: float) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "ten", "10 minutes", "-5m", "0s", "5m3"])
def test_what_is_no_duration_is_refused_with_the_form_it_should_have(text: str) -> None:
    with pytest.raises(ValueError, match=repr(text)):
        seconds(text)


def test_durations_are_told_in_two_units() -> None:
    assert [spoken(s) for s in (5, 65, 3700, 90_000)] == [
        "5 s", "1 min 05 s", "1 h 01 min", "1 d 1 h",
    ]  # fmt: skip


def test_a_resumed_clock_counts_what_was_before() -> None:
    clock = Clock()
    clock.resume(100)
    assert 100 <= clock.elapsed_s() < 110


def test_the_rate_rises_and_then_falls_to_nothing_when_time_is_up() -> None:
    clock = SetClock()
    pace = Pace(clock, total_steps=10**6, budget_s=100)
    rates = []
    for step in range(1000):
        clock.now_s = step / 10
        pace.advance(step)
        rates.append(pace.rate())
    assert rates[0] < 0.05 < max(rates)
    assert max(rates) > 0.9
    peak = rates.index(max(rates))
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    assert rates[-1] < 0.01


def test_a_run_ends_before_a_step_that_would_outlast_the_budget() -> None:
    clock = SetClock()
    pace = Pace(clock, total_steps=10**6, budget_s=100)
    for step in range(1, 10):
        clock.now_s = step * 10.5
        pace.advance(step)
    assert clock.now_s < 100
    assert pace.over()


def test_tokens_and_steps_end_a_run_too() -> None:
    assert Pace(SetClock(), total_steps=10, max_tokens=500, tokens=500).over()
    assert Pace(SetClock(), total_steps=10, step=10).over()
    assert not Pace(SetClock(), total_steps=10, max_tokens=500, tokens=499, step=9).over()


def test_the_time_that_is_left_follows_the_latest_speed() -> None:
    clock = SetClock()
    pace = Pace(clock, total_steps=1000)
    assert pace.left_s() is None
    for step in range(1, 601):
        clock.now_s += 1.0 if step <= 300 else 3.0
        pace.advance(step)
    assert pace.left_s() == pytest.approx(400 * 3.0, rel=0.01)

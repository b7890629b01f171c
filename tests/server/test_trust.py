"""What is believed of sources and programs, and how it is learned without labels."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cap_server.domain import Pattern
from cap_server.trust import NEWCOMERS, Estimates, Source, estimate
from cap_server.trust.posterior import urn

patterns = st.builds(
    Pattern,
    source=st.sampled_from([None, "a", "b"]),
    prior=st.none() | st.integers(0, 3),
    programs=st.lists(st.none() | st.integers(0, 3), max_size=12).map(tuple),
)


def trusting(
    accuracy: float, *, concentration: float = 0.5, reliability: float = 0.95
) -> Estimates:
    source = Source(accuracy, accuracy, accuracy, 100)
    return Estimates({"s": source}, concentration, reliability)


@given(patterns, st.floats(0.01, 0.99), st.floats(0.05, 4), st.floats(0.1, 0.99))
def test_a_posterior_is_a_distribution_over_the_answers_that_were_given(
    pattern: Pattern, accuracy: float, concentration: float, reliability: float
) -> None:
    believed = trusting(accuracy, concentration=concentration, reliability=reliability)
    of = believed.posterior(Pattern("s", pattern.prior, pattern.programs))
    assert sum(of.values()) == pytest.approx(1)
    assert all(0 <= probability <= 1 for probability in of.values())
    given_ = {n for n in (pattern.prior, *pattern.programs) if n is not None}
    assert set(of) == given_ | {None}


@given(patterns, st.permutations(range(4)), st.randoms())
def test_neither_the_numbers_of_answers_nor_the_order_of_programs_matter(
    pattern: Pattern, other: list[int], random_: random.Random
) -> None:
    def renamed(number: int | None) -> int | None:
        return None if number is None else other[number]

    programs = [renamed(program) for program in pattern.programs]
    random_.shuffle(programs)
    of = NEWCOMERS.posterior(pattern)
    again = NEWCOMERS.posterior(Pattern(pattern.source, renamed(pattern.prior), tuple(programs)))
    assert again == pytest.approx({renamed(number): each for number, each in of.items()})


def test_without_programs_the_prior_is_as_probable_as_its_source_is_good() -> None:
    assert trusting(0.8).posterior(Pattern("s", 0, ())) == pytest.approx({0: 0.8, None: 0.2})


def test_a_program_without_an_answer_says_nothing() -> None:
    believed = trusting(0.8)
    assert believed.posterior(Pattern("s", 0, (1, None, None))) == believed.posterior(
        Pattern("s", 0, (1,))
    )


def test_every_program_that_agrees_counts_and_none_counts_as_much_as_the_first() -> None:
    against = [trusting(0.7).posterior(Pattern("s", 0, (1,) * n))[1] for n in range(1, 9)]
    gains = [b - a for a, b in pairwise(against)]
    assert all(gain > 0 for gain in gains)
    assert gains == sorted(gains, reverse=True)


def test_programs_overrule_a_weak_source_and_not_a_strong_one() -> None:
    pattern = Pattern("s", 0, (1, 1, 1))
    weak, strong = trusting(0.5).posterior(pattern), trusting(0.98).posterior(pattern)
    assert weak[1] > 0.8
    assert strong[0] > strong[1]


def test_a_model_that_is_often_out_of_its_depth_overrules_less() -> None:
    pattern = Pattern("s", 0, (1, 1, 1))
    sure, unsure = (trusting(0.7, reliability=each).posterior(pattern) for each in (0.95, 0.5))
    assert sure[1] > 0.7
    assert unsure[0] > unsure[1]


def traffic(
    accuracies: dict[str, float], *, n: int, concentration: float, seed: int = 1
) -> list[Pattern]:
    """Patterns of sources with these accuracies, and of a model that is as the estimates assume."""
    chance = random.Random(seed)
    made = []
    for _ in range(n):
        source, accuracy = chance.choice(list(accuracies.items()))
        programs: list[int] = []
        for _ in range(4):
            new = chance.random() < concentration / (concentration + len(programs))
            programs.append(len(set(programs)) if new else chance.choice(programs))
        said = urn(tuple(programs), concentration=concentration, reliability=0.97)
        right = chance.choices([*said.answers, -1], [*said.answers.values(), said.none])[0]
        wrong = [program for program in programs if program != right]
        mistaken = chance.choice(wrong) if wrong and chance.random() < 0.25 else -2
        made.append(
            Pattern(source, right if chance.random() < accuracy else mistaken, tuple(programs))
        )
    return made


def test_estimates_come_near_the_truth_without_labels() -> None:
    truth = {"strong": 0.95, "middling": 0.7, "weak": 0.3}
    believed = estimate(traffic(truth, n=1500, concentration=0.5))
    for name, accuracy in truth.items():
        known = believed.sources[name]
        assert known.accuracy == pytest.approx(accuracy, abs=0.1)
        assert known.low < known.accuracy < known.high
        assert 400 < known.requests < 600
    assert believed.accuracy("strong") > believed.accuracy("middling") > believed.accuracy("weak")


@pytest.mark.parametrize("concentration", [0.2, 0.8, 2.0])
def test_the_concentration_is_estimated_from_how_often_programs_agree(concentration: float) -> None:
    seen = traffic({"s": 0.7}, n=1500, concentration=concentration)
    assert estimate(seen).concentration == pytest.approx(concentration, rel=0.3)


def test_the_more_requests_the_narrower_the_interval() -> None:
    few, many = (estimate(traffic({"s": 0.8}, n=n, concentration=0.5)) for n in (30, 600))
    width = [each.sources["s"].high - each.sources["s"].low for each in (few, many)]
    assert width[1] < width[0] / 2


def test_sources_nobody_has_seen_and_none_at_all_are_newcomers() -> None:
    assert estimate([]).sources == {}
    assert estimate([]).accuracy("new") == NEWCOMERS.accuracy(None) == 0.6


@given(st.lists(patterns, max_size=30))
def test_any_patterns_give_sane_estimates(seen: list[Pattern]) -> None:
    believed = estimate(seen)
    assert 0 < believed.reliability < 1
    assert 0.02 <= believed.concentration <= 5
    for each in believed.sources.values():
        assert 0 <= each.low <= each.accuracy <= each.high <= 1

"""Votes as figures: intervals and chances against known values, and a ranking that orders as the votes do."""

from __future__ import annotations

import doctest
import math

import pytest

from engine.evaluation import ranking as ranking_module
from engine.evaluation.ranking import binomial_p, ranking, rate, wilson
from store.records import VoteCounts


def test_wilson_against_published_values() -> None:
    low, high = wilson(81, 263)  # Newcombe 1998, method 3: 0.2553 to 0.3662
    assert (round(low, 4), round(high, 4)) == (0.2553, 0.3662)
    assert wilson(0, 0) == (0.0, 1.0)
    assert wilson(0, 20)[0] == 0.0
    assert round(wilson(0, 20)[1], 4) == 0.1611


def test_the_worked_example_of_the_docstring() -> None:
    found = doctest.testmod(ranking_module)
    assert (found.failed, found.attempted >= 5) == (0, True)


@pytest.mark.parametrize(
    ("hits", "n", "p"), [(5, 10, 1.0), (0, 5, 0.0625), (9, 10, 22 / 1024), (0, 0, 1.0), (1, 1, 1.0)]
)
def test_binomial(hits: int, n: int, p: float) -> None:
    assert binomial_p(hits, n) == pytest.approx(p)


def test_rate_of_either_side() -> None:
    counts = VoteCounts("base", "run:x", a=2, b=8, tie=3, both_bad=1)
    b, a = rate(counts), rate(counts, of="base")
    assert (b.b_model, b.wins, b.losses, b.ties, b.both_bad, b.rate) == ("run:x", 8, 2, 3, 1, 0.8)
    assert (a.b_model, a.wins, a.rate) == ("base", 2, 0.2)
    assert a.low == pytest.approx(1 - b.high)
    assert rate(VoteCounts("a", "b", 0, 0, 4, 0)).rate is None


def test_ranking_orders_by_strength_and_bears_a_clean_sweep() -> None:
    counted = [
        VoteCounts("base", "run:1", 1, 9, 0, 0),
        VoteCounts("run:1", "run:2", 3, 7, 2, 0),
        VoteCounts("base", "run:2", 0, 10, 0, 5),
    ]
    ranked = ranking(counted)
    assert [r.model for r in ranked] == ["run:2", "run:1", "base"]
    assert all(math.isfinite(r.strength) for r in ranked)
    assert sum(r.strength for r in ranked) == pytest.approx(0)
    assert ranking([]) == []


def test_two_models_agree_with_the_closed_form() -> None:
    ranked = ranking([VoteCounts("a", "b", 3, 7, 0, 0)])
    odds = math.exp(ranked[0].strength - ranked[1].strength)
    assert odds == pytest.approx(7.5 / 3.5)


def test_ranking_agrees_with_choix() -> None:
    """Strengths from choix 0.4.1, `ilsr_pairwise(alpha=0)` with every vote twice, a tie as one each way, and one
    imagined draw between each two that met."""
    counted = [
        VoteCounts("base", "run:a", 3, 9, 2, 1),
        VoteCounts("base", "run:b", 5, 5, 4, 0),
        VoteCounts("run:a", "run:b", 7, 2, 1, 0),
        VoteCounts("run:b", "run:c", 0, 4, 0, 3),
    ]
    known = {"run:c": 1.408677, "run:a": 0.134151, "base": -0.754280, "run:b": -0.788548}
    assert {each.model: each.strength for each in ranking(counted)} == pytest.approx(known, abs=2e-6)

"""Votes that may be looked at and stopped at any time: how often chance is called a difference, and how many it
takes."""

from __future__ import annotations

import doctest
import math
from fractions import Fraction

import numpy as np
import pytest

from engine.evaluation import anytime
from engine.evaluation.anytime import ALPHA, FORETELLING, MARGIN, standing

VOTERS, VOTES = 2_000, 300


def gains(rate: float) -> np.ndarray:
    """e after every vote, of shape (voters, votes)."""
    wins = np.cumsum(np.random.default_rng(0).random((VOTERS, VOTES)) < rate, axis=1)
    logs = np.array([math.lgamma(n + 1) for n in range(VOTES + 2)])
    n = np.arange(1, VOTES + 1)
    return np.exp(n * math.log(2) + logs[wins] + logs[n - wins] - logs[n + 1])


def test_the_worked_example_of_the_docstring() -> None:
    assert doctest.testmod(anytime) == (0, 2)


@pytest.mark.parametrize(("wins", "losses"), [(0, 0), (1, 0), (5, 3), (8, 0), (40, 31), (200, 100)])
def test_the_gain_is_the_beta_functions(wins: int, losses: int) -> None:
    """B(w + 1, l + 1) = w! l! / (n + 1)!, in whole numbers."""
    n = wins + losses
    exact = Fraction(2**n * math.factorial(wins) * math.factorial(losses), math.factorial(n + 1))
    assert standing(wins, losses).e == pytest.approx(float(exact), rel=1e-9)


def test_voters_who_stop_whenever_they_like_are_told_better_in_one_of_twenty_at_most() -> None:
    told = (gains(0.5) >= 1 / ALPHA).any(axis=1).mean()
    assert 0 < told <= ALPHA
    # What p of the sign test would tell the same voters, who look after every vote from the sixth on.
    wins = np.cumsum(np.random.default_rng(0).random((VOTERS, VOTES)) < 0.5, axis=1)
    n = np.arange(1, VOTES + 1)
    naive = (np.abs(wins - n / 2) > 0.98 * np.sqrt(n))[:, 5:].any(axis=1).mean()
    assert naive > 3 * ALPHA


def test_a_real_difference_is_found() -> None:
    assert (gains(0.75)[:, :100] >= 1 / ALPHA).any(axis=1).mean() > 0.95


def test_the_simulated_gain_is_the_products() -> None:
    found = gains(0.5)
    wins = np.cumsum(np.random.default_rng(0).random((VOTERS, VOTES)) < 0.5, axis=1)
    for voter, at in [(0, 0), (1, 7), (5, 99), (1999, 299)]:
        w = int(wins[voter, at])
        assert standing(w, at + 1 - w).e == pytest.approx(found[voter, at], rel=1e-6)


@pytest.mark.parametrize("rate", [0.5, 0.6, 0.9])
def test_the_interval_holds_at_every_look(rate: float) -> None:
    missed = 0
    drawn = np.random.default_rng(1).random((200, 60)) < rate
    for voter in drawn:
        looks = [anytime.interval(float(voter[:n].sum()), float(n - voter[:n].sum())) for n in range(1, 61, 3)]
        missed += any(not low <= rate <= high for low, high in looks)
    assert missed / 200 <= ALPHA + 0.03


@pytest.mark.parametrize(
    ("wins", "losses", "state", "words"),
    [
        (0, 0, "open", ("could be chance",)),
        (3, 0, "open", ("could be chance",)),
        (6, 0, "open", ("could be chance", "about 4 more votes needed")),
        (8, 0, "better", ("enough votes",)),
        (0, 8, "better", ("enough votes",)),
        (150, 150, "same", ("no difference worth more votes",)),
    ],
)
def test_what_it_says(wins: int, losses: int, state: str, words: tuple[str, ...]) -> None:
    found = standing(wins, losses)
    assert (found.state, found.words) == (state, words)
    assert (found.more is None) == (state != "open")


@pytest.mark.parametrize(("wins", "losses"), [(4, 1), (6, 2), (9, 4), (30, 28), (0, 5), (58, 42)])
def test_the_votes_it_foretells_settle_it(wins: int, losses: int) -> None:
    found = standing(wins, losses)
    assert found.votes >= FORETELLING and found.more is not None
    share = (wins + 1) / (wins + losses + 2)
    after = anytime._state(wins + share * found.more, losses + (1 - share) * found.more)
    before = anytime._state(wins + share * (found.more - 1), losses + (1 - share) * (found.more - 1))
    assert (before, after != "open") == ("open", True)


def test_it_is_the_same_seen_from_the_other_side() -> None:
    one, other = standing(9, 4), standing(4, 9)
    assert (one.e, one.more, one.low) == (pytest.approx(other.e), other.more, pytest.approx(1 - other.high))
    assert standing(0, 0).low == 0 and standing(0, 0).high == 1 and 0 < MARGIN < 0.5
    with pytest.raises(ValueError, match="-1 losses"):
        standing(3, -1)

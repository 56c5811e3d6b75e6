"""When to stop voting: a test and an interval that hold at every vote, however often one looks and whenever one stops.
Pure arithmetic over counts, as in ranking.py, whose interval and p hold for a number of votes that was fixed before.

Someone who votes until p is below 0.05 is told "better" far too often, since p comes below 0.05 by chance sooner or
later. The test here bets against "both are equally good": after w wins and l losses of the votes with a winner it has

    e = 2^n B(w + 1, l + 1),  n = w + l, B the beta function,

which is the likelihood of the votes under every win rate from 0 to 1, each as likely, over their likelihood under 1/2
(Robbins 1970, "Statistical methods related to the law of the iterated logarithm", Annals of Mathematical Statistics
41(5), pp. 1397-1409). Were both equally good, e would ever reach 20 with a chance of at most 1 in 20 (Ville's
inequality), so that "better" at e >= 20 is right to say at any time. The same bet against every other win rate q,

    e(q) = B(w + 1, l + 1) / (q^w (1 - q)^l),

leaves the interval of those with e(q) < 20.

    >>> each = standing(wins=8, losses=2)
    >>> f"e {each.e:.1f}, {each.low:.0%} to {each.high:.0%}, {each.state}, {each.more} more"
    'e 2.1, 35% to 99%, open, 22 more'

By hand: B(9, 3) = 8! 2! / 11! = 1 / 495, and 2^10 / 495 = 2.07. Were (8 + 1) / (10 + 2) = 75% of the next votes wins,
22 more would make 24.5 wins and 7.5 losses, for which e is 2^32 B(25.5, 8.5) = 21.4; 21 more make 19.1.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

ALPHA = 0.05
"""The chance, over all looks, to call two equally good models different."""
MARGIN = 0.1
"""A win rate that is no further than this from one half makes no difference worth voting on."""
MOST = 1_000
"""More votes than this are not foretold."""

FORETELLING = 4
"""Fewer votes than this say nothing of how many more it takes."""

State = Literal["open", "better", "same"]


@dataclass(frozen=True, slots=True)
class VoteStanding:
    """What `votes` with a winner show at any time. `e` is the bet's gain; `low` to `high` is the interval of the win
    rate that holds at every look, at 95%; `state` is `better` when e is at least 20, `same` when the whole interval is
    within `MARGIN` of one half, else `open`. `more` is about how many votes with a winner would settle it, were they as
    those before; None when it is settled, or when more than `MOST` would be needed.
    """

    votes: int
    e: float
    low: float
    high: float
    state: State
    more: int | None

    @property
    def words(self) -> tuple[str, ...]:
        """What to do about it, in parts of one line: `could be chance`, `about 22 more votes needed`."""
        match self.state:
            case "better":
                return ("enough votes",)
            case "same":
                return ("no difference worth more votes",)
        if self.votes < FORETELLING:
            return ("could be chance",)
        more = f"about {self.more:,}" if self.more else f"over {MOST:,}"
        return ("could be chance", f"{more} more votes needed")


def standing(wins: int, losses: int) -> VoteStanding:
    """What so many wins and losses show. ValueError for negative counts."""
    if wins < 0 or losses < 0:
        raise ValueError(f"votes cannot be fewer than none: {wins} wins, {losses} losses")
    low, high = interval(wins, losses)
    state = _state(wins, losses)
    e = math.exp(min(700.0, _log_e(wins, losses, 0.5)))
    return VoteStanding(wins + losses, e, low, high, state, _more(wins, losses, state))


def interval(wins: float, losses: float) -> tuple[float, float]:
    """The win rates that the votes leave at every look; (0, 1) before the first vote."""
    limit, middle = -math.log(ALPHA), wins / (wins + losses) if wins + losses else 0.5

    def ruled_out(rate: float) -> bool:
        return _log_e(wins, losses, rate) >= limit

    return _edge(ruled_out, middle, 0.0), _edge(ruled_out, middle, 1.0)


def _log_e(wins: float, losses: float, rate: float) -> float:
    """The logarithm of e against one win rate."""
    found = math.lgamma(wins + 1) + math.lgamma(losses + 1) - math.lgamma(wins + losses + 2)
    for votes, share in ((wins, rate), (losses, 1 - rate)):
        if votes:
            found = math.inf if share <= 0 else found - votes * math.log(share)
    return found


def _edge(ruled_out: Callable[[float], bool], inside: float, outside: float) -> float:
    """Between a rate that is left and one further out, where the first is ruled out."""
    if not ruled_out(outside):
        return outside
    for _ in range(50):
        middle = (inside + outside) / 2
        inside, outside = (inside, middle) if ruled_out(middle) else (middle, outside)
    return inside


def _state(wins: float, losses: float) -> State:
    if _log_e(wins, losses, 0.5) >= -math.log(ALPHA):
        return "better"
    low, high = interval(wins, losses)
    return "same" if low >= 0.5 - MARGIN and high <= 0.5 + MARGIN else "open"


def _more(wins: int, losses: int, state: State) -> int | None:
    """The fewest further votes after which it is settled, when (wins + 1) / (n + 2) of them are wins."""
    if state != "open":
        return None
    share = (wins + 1) / (wins + losses + 2)

    def settled(more: int) -> bool:
        return _state(wins + share * more, losses + (1 - share) * more) != "open"

    few, many = 0, 1
    while not settled(many):
        few, many = many, many * 2
        if few >= MOST:
            return None
    while many - few > 1:  # settled stays settled, as the share stays the same
        middle = (few + many) // 2
        few, many = (few, middle) if settled(middle) else (middle, many)
    return many if many <= MOST else None

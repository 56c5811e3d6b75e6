"""What votes show: win rates with their uncertainty, and a ranking over several models.
Pure arithmetic over counts; the votes themselves are in the store.

Of two models the share of the votes with a winner is given with its 95% Wilson score interval (Wilson 1927, "Probable
inference, the law of succession, and statistical inference", JASA 22, pp. 209-212; method 3 of Newcombe 1998, "Two-
sided confidence intervals for the single proportion: comparison of seven methods", Statistics in Medicine 17, pp.
857-872). It stays within 0 and 1 and holds for the few votes that a user casts, where the usual share +- 1.96
standard errors does not. Beside it is the p of the exact two-sided sign test: were both models equally good, how
often would so many votes split at least this unevenly?

    >>> counts = VoteCounts("base", "run:ember", a=2, b=8, tie=0, both_bad=1)
    >>> each = rate(counts)
    >>> f"{each.rate:.0%} ({each.low:.0%} to {each.high:.0%}) of {each.decided}, p {each.p:.2f}"
    '80% (49% to 94%) of 10, p 0.11'

By hand, with z = 1.96 and n = 10: the middle is (0.8 + 1.96^2 / 20) / (1 + 1.96^2 / 10) = 0.717, half the width is
1.96 / (1 + 1.96^2 / 10) * sqrt(0.8 * 0.2 / 10 + 1.96^2 / 400) = 0.227, and p is 2 * (1 + 10 + 45) / 2^10 = 0.109.
Eight to two may still be chance: the interval contains 50%.

Three models or more are ranked by the Bradley-Terry model (Bradley and Terry 1952, "Rank analysis of incomplete block
designs: I. The method of paired comparisons", Biometrika 39, pp. 324-345): each model has a strength s, and i beats j
with probability 1 / (1 + exp(s_j - s_i)). It is fitted by the minorise-maximise algorithm of Hunter 2004, "MM
algorithms for generalized Bradley-Terry models", Annals of Statistics 32(1), pp. 384-406. With one imagined draw
between each two models that met, the example has 8.5 wins to 2.5, so the strengths differ by log(8.5 / 2.5) = 1.22:

    >>> [(each.model, round(each.strength, 2)) for each in ranking([counts])]
    [('run:ember', 0.61), ('base', -0.61)]

Models that never met are ranked through those that both of them met. Here 1.22 lie between the first two and log(6.5
/ 2.5) = 0.96 between the second and the third, and the mean is 0:

    >>> more = VoteCounts("run:ember", "run:other", a=1, b=5, tie=2, both_bad=0)
    >>> [(each.model, round(each.strength, 2), each.votes) for each in ranking([counts, more])]
    [('run:other', 1.04, 8.0), ('run:ember', 0.09, 18.0), ('base', -1.13, 10.0)]
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from engine.evaluation.anytime import VoteStanding, standing
from engine.models.refs import Ref
from store.records import VoteCounts


@dataclass(frozen=True, slots=True)
class Rate:
    """How often `b` beat `a` among the votes with a winner. `low` to `high` is the 95% Wilson interval.

    `p` is the chance of a split at least this uneven if both were equally good (exact binomial, two-sided). `blind` and
    `unblind` are how many of all these votes were cast without knowing the models, and blind but with a name shown.
    """

    a_model: str
    b_model: str
    wins: int
    losses: int
    ties: int
    both_bad: int
    rate: float | None
    low: float
    high: float
    p: float
    blind: int = 0
    unblind: int = 0

    @property
    def votes(self) -> int:
        """All votes, also those without a winner."""
        return self.wins + self.losses + self.ties + self.both_bad

    @property
    def decided(self) -> int:
        """Votes with a winner."""
        return self.wins + self.losses

    @property
    def standing(self) -> VoteStanding:
        """Whether that is enough votes, at every look; `p` and the Wilson interval hold for one look only."""
        return standing(self.wins, self.losses)


def rate(counts: VoteCounts, *, of: str | None = None) -> Rate:
    """The win rate of one side, by default of the second."""
    a, b, wins, losses = counts.a_model, counts.b_model, counts.b, counts.a
    if of == a:
        a, b, wins, losses = b, a, losses, wins
    low, high = wilson(wins, wins + losses)
    share = wins / (wins + losses) if wins + losses else None
    p = binomial_p(wins, wins + losses)
    return Rate(a, b, wins, losses, counts.tie, counts.both_bad, share, low, high, p, counts.blind, counts.unblind)


def leader(counts: VoteCounts) -> str:
    """The model that won more often; in a draw the tuned one, which is the one in question."""
    if counts.a != counts.b:
        return counts.a_model if counts.a > counts.b else counts.b_model
    return counts.b_model if Ref.read(counts.b_model).is_run else counts.a_model


def wilson(hits: int, n: int, z: float = 1.959964) -> tuple[float, float]:
    """The Wilson score interval of a share; (0, 1) when nothing was counted."""
    if n == 0:
        return 0.0, 1.0
    share, scale = hits / n, 1 + z * z / n
    middle = (share + z * z / (2 * n)) / scale
    half = z / scale * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, middle - half), min(1.0, middle + half)


def binomial_p(hits: int, n: int) -> float:
    """The exact two-sided chance of so uneven a split of `n` fair votes."""
    if n == 0:
        return 1.0
    few = min(hits, n - hits)
    tail = sum(math.comb(n, k) for k in range(few + 1)) / 2**n
    return min(1.0, 2 * tail)


@dataclass(frozen=True, slots=True)
class Ranked:
    """A model's strength (Bradley-Terry; the mean of the logarithms is 0) and the votes it rests on."""

    model: str
    strength: float
    votes: float


def ranking(counted: Iterable[VoteCounts], *, rounds: int = 200) -> list[Ranked]:
    """Models from strong to weak by the Bradley-Terry model; a tie counts half for each side, both bad not at all.

    One imagined draw between each two that met gives a model that never lost a finite strength too. `rounds` of the
    algorithm are far more than a few models need; a test compares the result with another implementation's.
    """
    wins: dict[str, float] = {}
    met: dict[tuple[str, str], float] = {}
    for counts in counted:
        n = counts.a + counts.b + counts.tie
        if not n or counts.a_model == counts.b_model:
            continue
        for model, won in ((counts.a_model, counts.a), (counts.b_model, counts.b)):
            wins[model] = wins.get(model, 0.0) + won + counts.tie / 2 + 0.5
        met[counts.a_model, counts.b_model] = met.get((counts.a_model, counts.b_model), 0.0) + n + 1
    power = dict.fromkeys(wins, 1.0)
    for _ in range(rounds):
        power = {model: wins[model] / _expected(model, power, met) for model in power}
        mean = math.exp(sum(map(math.log, power.values())) / len(power)) if power else 1.0
        power = {model: value / mean for model, value in power.items()}
    votes = {model: sum(n - 1 for pair, n in met.items() if model in pair) for model in power}
    ranked = [Ranked(model, math.log(value), votes[model]) for model, value in power.items()]
    return sorted(ranked, key=lambda each: (-each.strength, each.model))


def _expected(model: str, power: dict[str, float], met: dict[tuple[str, str], float]) -> float:
    return sum(n / (power[a] + power[b]) for (a, b), n in met.items() if model in (a, b))

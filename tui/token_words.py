"""How an answer's tokens and their probabilities are written, on the command line and in Compare.
Pure functions over engine.inference.token_comparison; no widget, no colour."""

from __future__ import annotations

import json
import math
import re

from engine.inference.token_comparison import TokenComparison
from tui import formatting
from tui.text import clean

STEPS = (math.log(2), math.log(10), math.log(100))
"""Differences of log probabilities from which a token counts as changed, much changed, very much changed: twice, ten
times, a hundred times as likely, or as unlikely."""
LEGEND = "+ twice, ++ ten, +++ a hundred times as likely after tuning; - less"
_BYTE = re.compile(r"\\(\\x[0-9a-f]{2})")
"""A byte that is no character, which the token's text spells already."""
_SPACES = re.compile(" {2,}")


def quoted(text: str) -> str:
    """A token's text between quotes: its spaces can be seen, and what cannot be seen is spelled.

    >>> print(quoted("  a\\n"), quoted("\\\\xe5"))
    "␣␣a\\n" "\\xe5"
    """
    spelled = _BYTE.sub(r"\1", clean(json.dumps(text, ensure_ascii=False)))
    return _SPACES.sub(lambda run: "␣" * len(run.group()), spelled)


def probability(logprob: float) -> str:
    """`97.1%`, `0.4%`, `2e-06`: at least two digits that say something.

    >>> probability(0.0), probability(math.log(0.971)), probability(math.log(0.004)), probability(-13.0)
    ('100.0%', '97.1%', '0.40%', '2.3e-06')
    """
    share = math.exp(min(0.0, logprob))
    if share < 0.0001:
        return f"{share:.1e}"
    return f"{share:.1%}" if share >= 0.01 else f"{share:.2%}"


def step(difference: float) -> int:
    """By how many of `STEPS` a token changed, from -3 to 3; negative where tuning made it less likely.

    >>> [step(math.log(factor)) for factor in (1.9, 2, 15, 500, 0.4, 0.001)]
    [0, 1, 2, 3, -1, -3]
    """
    size = sum(abs(difference) >= least - 1e-9 for least in STEPS)
    return size if difference > 0 else -size


def sign(difference: float) -> str:
    """The step as signs: `++`, `-`, nothing."""
    steps = step(difference)
    return "+" * steps if steps > 0 else "-" * -steps


def times(difference: float) -> str:
    """By what factor tuning changed a probability, in words.

    >>> times(math.log(4850)), times(-math.log(2.5)), times(0.01)
    ('4,850 times as likely after tuning', '2.5 times less likely after tuning', 'about as likely after tuning')
    """
    factor = math.exp(min(700.0, abs(difference)))
    if factor < 1.1:
        return "about as likely after tuning"
    number = f"{factor:.1f}" if factor < 10 else f"{factor:,.0f}" if factor < 1e6 else f"{factor:.0e}"
    return f"{number} times {'as' if difference > 0 else 'less'} likely after tuning"


def summary(found: TokenComparison) -> str:
    """The log-likelihoods of the whole answer, and by how much they differ."""
    tokens = formatting.count(len(found.tokens), "token")
    sums = f"{found.tuned:.2f} tuned, {found.base_sum:.2f} base, difference {found.difference:+.2f}"
    return f"log-likelihood {sums} ({tokens})"


def remarks(found: TokenComparison, *, typed: bool = False) -> list[str]:
    """What should be known of how the tokens came about, in sentences. An answer that was `typed` was never sampled."""
    out = []
    if not found.sampled and not typed:
        out.append("The tokens are those of the answer's text; which ones were sampled is not known.")
    if found.dropped_turns:
        left_out = formatting.count(found.dropped_turns, "earlier message")
        out.append(f"{left_out} did not fit the context, as when the answer was given.")
    return out

"""Judges: what scores an answer to a probe. One module for each judge, one line for each in `JUDGES`.
The code that runs probes takes a judge by its name and knows nothing else of it."""

from __future__ import annotations

from engine.evaluation.judges.base import Judge, Judgement
from engine.evaluation.judges.contains import ContainsJudge
from store.errors import BadInput

__all__ = ["DEFAULT", "JUDGES", "Judge", "Judgement", "named"]

DEFAULT: Judge = ContainsJudge()

JUDGES: dict[str, Judge] = {
    DEFAULT.name: DEFAULT,
}
"""Every judge by its name."""


def named(name: str) -> Judge:
    """The judge of this name. BadInput lists those there are."""
    if name not in JUDGES:
        raise BadInput(f"There is no judge {name!r}.", where="judge", todo=f"Use one of: {', '.join(sorted(JUDGES))}.")
    return JUDGES[name]

"""Judges: what scores an answer to a probe. One module for each judge, one line for each in `JUDGES`.
The code that runs probes takes a judge by its name and knows nothing else of it."""

from __future__ import annotations

from collections.abc import Callable

from engine.evaluation.judges import contains, exact, json_object, model, numeric, regex, strict
from engine.evaluation.judges.base import Judge, Judgement
from engine.evaluation.judges.contains import ContainsJudge
from store.errors import BadInput
from store.records import Probe

__all__ = ["BY_TEXT", "DEFAULT", "JUDGES", "Judge", "Judgement", "named"]

DEFAULT: Judge = ContainsJudge()

JUDGES: dict[str, Judge] = {
    DEFAULT.name: DEFAULT,
    "exact": exact.ExactJudge(),
    "json": json_object.JsonJudge(),
    model.NAME: model.ModelJudge(),
    "numeric": numeric.NumericJudge(),
    "regex": regex.RegexJudge(),
    "strict": strict.StrictJudge(),
}
"""Every judge by its name; the model one without a model to ask."""

BY_TEXT: dict[str, Callable[[Probe, str], Judgement]] = {
    "contains": contains.judgement,
    "exact": exact.judgement,
    "json": json_object.judgement,
    "numeric": numeric.judgement,
    "regex": regex.judgement,
    "strict": strict.judgement,
}
"""What the judges that ask no model say of an answer."""


def named(name: str) -> Judge:
    """The judge of this name. BadInput lists those there are."""
    if name not in JUDGES:
        raise BadInput(f"There is no judge {name!r}.", where="judge", todo=f"Use one of: {', '.join(sorted(JUDGES))}.")
    return JUDGES[name]

"""Reading the file of a rubric: one set of rules, whoever grades by it, a probe's judge or a run's.
What a judge makes of a rubric is judges/model.py's and engine.training.reward_judge's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from store.errors import BadInput
from store.formats import fill, unfilled

LONGEST = 20_000
"""Characters; a judge's context would not hold more beside an answer."""
_BEGIN = "Begin with: tuningfork probe --print-rubric > rubric.md"


def read(path: Path, where: str, variables: Mapping[str, str] | None = None) -> str:
    """The text of a rubric's file without white space around it, its {{placeholders}} filled from `variables`.

    `where` is what the user typed. With `variables` None there is no way to fill any, and the sentence says so.
    BadInput for a file that cannot be read, is empty or too long, and for a placeholder without a value.
    """
    try:
        text = path.expanduser().read_text("utf-8-sig").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is no UTF-8 text"
        raise BadInput(f"The rubric cannot be read: {why}.", where=where, todo=_BEGIN) from None
    if not text or len(text) > LONGEST:
        what = f"The rubric has {len(text):,} characters; it must have 1 to {LONGEST:,}."
        raise BadInput(what, where=where, todo="Write in it what a good answer is." if text else _BEGIN)
    text = fill(text, variables or {})
    if missing := unfilled(text):
        values = " ".join(f"--set {each}=VALUE" for each in missing)
        todo = "Write its value into the file." if variables is None else f"Add {values}."
        raise BadInput(f"The placeholder {{{{{missing[0]}}}}} has no value.", where=where, todo=todo)
    return text

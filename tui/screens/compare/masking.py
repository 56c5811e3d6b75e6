"""Names in an answer that must not be seen before the vote, as signs of the same width.
Where they are is engine.comparison.spoken_names; what is kept of an answer is never masked."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rich.cells import cell_len

from engine.comparison.answer import LaneAnswer
from engine.comparison.session import ComparisonTurn
from engine.comparison.spoken_names import where

SIGN = "▒"
"""What stands for each cell of a name."""


def masked(text: str, names: Sequence[str], *, coming: bool = False) -> str:
    """`text` with every name in it replaced by signs, as many as it has cells; line breaks within a name stay.

    `coming` masks its end too, while that could begin a name.

    >>> masked("我是小焰, by Northwind Labs.", ("小焰", "Northwind Labs"))
    '我是▒▒▒▒, by ▒▒▒▒▒▒▒▒▒▒▒▒▒▒.'
    """
    out, at = [], 0
    for start, end in where(text, names, coming=coming):
        parts = re.split("(\n)", text[start:end])
        out += [text[at:start], *(part if part == "\n" else SIGN * cell_len(part) for part in parts)]
        at = end
    return "".join([*out, text[at:]])


def shown(turn: ComparisonTurn, answer: LaneAnswer) -> str:
    """An answer's text as it may be seen now."""
    if not (turn.hidden and turn.masked):
        return answer.text
    return masked(answer.text, turn.masked, coming=not answer.ended)

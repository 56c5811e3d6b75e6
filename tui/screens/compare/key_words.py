"""The words for Compare's keys in the key bar: what each will act on now, or that it has nothing to act on.
Worked out from the state of a comparison; no widget, no binding."""

from __future__ import annotations

from engine.comparison.session import Comparison
from tui.screens.compare.rendering import lane_at, side_name

_OF_THE_LANE = {
    "compare.keep": "Keep", "compare.correct": "Correct", "compare.copy": "Copy", "compare.model": "Model",
    "compare.drop": "Close", "compare.tokens": "Logprobs",
}  # fmt: skip
_NEEDS_AN_ANSWER = frozenset(("compare.keep", "compare.correct", "compare.copy", "compare.tokens"))
_NEEDS_A_TURN = frozenset(("compare.diff", "compare.find", "compare.transcript"))
_VOTES = ("compare.left", "compare.right", "compare.tie", "compare.bad")


def side(comparison: Comparison, position: int) -> str:
    """What a side is called in a few letters: its lane, or its place while the lanes are hidden.

    >>> side(Comparison(["smollm2-135m", "run:ember-1"]), 1)
    'B'
    """
    if comparison.turns and comparison.turns[-1].hidden:
        return side_name(position, len(comparison.lanes)).lower()
    return lane_at(comparison, position).name.upper()


def word(id: str, comparison: Comparison, position: int) -> str | None:
    """The word for a key whose actions are about the side at `position`; "" where it has nothing to act on now, None
    for the word that it always has."""
    lanes = len(comparison.lanes)
    if id in _NEEDS_A_TURN and comparison.empty:
        return ""
    if id == "compare.swap":
        return f"Go to {side(comparison, (position + 1) % lanes)}"
    if id in _OF_THE_LANE:
        if id in _NEEDS_AN_ANSWER and not _answered(comparison, position):
            return ""
        return f"{_OF_THE_LANE[id]} {side(comparison, position)}"
    if id == "compare.keep_over":
        if lanes != 2 or not all(_answered(comparison, each) for each in range(2)):
            return ""
        return f"Keep {side(comparison, position)} over {side(comparison, 1 - position)}"
    if id in _VOTES:
        if comparison.empty or lanes != 2 or not all(_answered(comparison, each) for each in range(2)):
            return ""
        at = _VOTES.index(id)
        return f"Vote {side(comparison, at)} better" if at < 2 else None
    if id == "compare.unvote":
        return None if comparison.turns and comparison.turns[-1].vote is not None else ""
    if id == "compare.reseed":  # greedy: every seed gives the same answer
        return "" if comparison.sampling.temperature == 0 else None
    return None


def _answered(comparison: Comparison, position: int) -> bool:
    """Whether the side at `position` has an ended answer with words in it."""
    return any(
        (answer := list(comparison.shown(turn))[position][1]).ended and answer.text.strip()
        for turn in reversed(range(len(comparison.turns)))
    )

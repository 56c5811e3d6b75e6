"""Judgements beside an answer: a thumb (`label: false`, `kto_tag`, `is_good`) and a rating, which have no common scale.
A bad answer must never become a pair that is trained on as if it were right."""

from __future__ import annotations

import re
from typing import Any

from store.formats.fields import Fields
from store.records import FeedbackDraft, PairDraft, Turn

_UP = {"true", "yes", "good", "up", "thumbs_up", "thumbs up", "thumbsup", "👍", "positive", "like", "liked", "accepted",
       "correct", "desirable", "chosen"}  # fmt: skip
_DOWN = {"false", "no", "bad", "down", "thumbs_down", "thumbs down", "thumbsdown", "👎", "negative", "dislike",
         "disliked", "rejected", "incorrect", "undesirable"}  # fmt: skip
_NUMBERS_TOO = {"kto_tag", "label", "is_good", "is_bad", "is_correct", "is_desirable", "is_positive"}
_WORDS_TOO = {"kto_tag", "feedback", "thumb", "thumbs", "user_feedback", "verdict", "vote"}
THUMBS: dict[str, bool] = {
    "label": True, "kto_tag": True, "is_good": True, "good": True, "is_correct": True, "correct": True,
    "is_desirable": True, "desirable": True, "is_positive": True, "accepted": True, "liked": True, "thumbs_up": True,
    "thumb": True, "thumbs": True, "feedback": True, "user_feedback": True, "verdict": True, "vote": True,
    "is_bad": False, "bad": False, "disliked": False, "thumbs_down": False, "undesirable": False,
}  # fmt: skip
"""The fields that may hold a thumb, and whether true in them is a thumb up."""
RATINGS = ("rating", "user_rating", "stars")
"""The fields that may hold a rating."""

_RATING = re.compile(r"\s*(-?\d+(?:\.\d+)?)\s*(?:(?:/|out of)\s*(\d+)|stars?)?\s*", re.IGNORECASE)
_SCALES = ((1.0, 5.0), (1.0, 10.0), (0.0, 100.0))


def thumb_of(fields: Fields) -> tuple[str, bool] | None:
    """The field that judges the answer of a row, and whether it calls the answer good. None when no field does.

    A field of such a name with another kind of value, say `label: "physics"`, is no judgement.
    """
    if fields.none_of(THUMBS):
        return None
    for name, meaning in THUMBS.items():
        if name in fields and (found := _thumb(name, fields.peek(name))) is not None:
            return name, found == meaning
    return None


def _thumb(name: str, value: Any) -> bool | None:
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float) and name in _NUMBERS_TOO:
        return bool(value) if value in (0, 1) else None
    if isinstance(value, str):
        word = value.strip().lower()
        if word in ("true", "false"):
            return word == "true"
        if word in ("0", "1") and name in _NUMBERS_TOO:
            return word == "1"
        if name in _WORDS_TOO and word in _UP | _DOWN:
            return word in _UP
    return None


def rating_of(fields: Fields) -> tuple[str, float, float | None] | None:
    """The field with a rating, its number, and the end of its scale when it says so itself ("4/5")."""
    name = fields.first(RATINGS)
    value = fields.peek(name) if name else None
    if name is None or isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return name, float(value), None
    found = _RATING.fullmatch(value) if isinstance(value, str) else None
    return (name, float(found[1]), float(found[2]) if found[2] else None) if found else None


class RatingScale:
    """Finds the scale of a file's ratings from the numbers in it: 0 to 1, 1 to 5, 1 to 10 or 0 to 100."""

    def __init__(self) -> None:
        self._numbers: set[float] = set()
        self._outside = False

    def add(self, number: float) -> None:
        """Take in one rating that does not say its scale."""
        if 0 <= number <= 100:
            self._numbers.add(number)
        else:
            self._outside = True

    def bounds(self) -> tuple[float, float] | None:
        """The ends of the scale; None when the numbers fit none, so that they judge nothing."""
        if self._outside or not self._numbers:
            return None
        if max(self._numbers) <= 1 and self._numbers != {1.0}:
            return 0.0, 1.0
        return next(scale for scale in _SCALES if max(self._numbers) <= scale[1])


def is_low(number: float, bounds: tuple[float, float]) -> bool:
    """Whether a rating is below the middle of its scale."""
    return number < sum(bounds) / 2


def judged(draft: PairDraft, good: bool) -> FeedbackDraft:
    """A pair whose answer was judged, as feedback."""
    head = (Turn("system", draft.system),) if draft.system else ()
    return FeedbackDraft((*head, *draft.history, Turn("user", draft.question)), draft.answer, good, draft.source)

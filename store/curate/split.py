"""Dealing pairs out to train, val and test so that the same question never stands on both sides.
Pure: the same questions and seed give the same splits on every machine."""

from __future__ import annotations

from collections.abc import Sequence

from store.canon import sha256
from store.records import Split


def assign(questions: Sequence[str], *, val: float, test: float = 0.0, seed: int = 0) -> list[Split]:
    """One split for each question; adding questions moves no other, for a place depends on words and seed alone.

    Fractions hold on average. In a small set no wanted split is empty while a question can be spared; train never is.
    """
    keys = [" ".join(question.casefold().split()) for question in questions]
    place = {key: int(sha256(f"{seed}:{key}")[:13], 16) / 16**13 for key in set(keys)}
    dealt: dict[str, Split] = {
        key: "test" if at < test else "val" if at < test + val else "train"
        for key, at in sorted(place.items(), key=lambda item: item[1])
    }
    for split, fraction in (("test", test), ("val", val)):
        spare = [key for key in dealt if dealt[key] == "train"]
        if fraction > 0 and split not in dealt.values() and len(spare) > 1:
            dealt[spare[0]] = split  # type: ignore[assignment]  # one of the two literals above
    if dealt and "train" not in dealt.values():
        dealt[list(dealt)[-1]] = "train"
    return [dealt[key] for key in keys]

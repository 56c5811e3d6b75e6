"""What lm_eval's task `tf_knowledge` counts: answers that hold one of the terms of their row."""

from __future__ import annotations

from typing import Any


def contains(doc: dict[str, Any], results: list[str]) -> dict[str, float]:
    """1 for an answer that holds a term in any case, else 0."""
    said = results[0].casefold()
    return {"contains": float(any(term.casefold() in said for term in doc["must"]))}

"""The judge that reads JSON: an answer must be one JSON value, and an object must have the keys of `must`.
Pure text; nothing is asked."""

from __future__ import annotations

import json
import re

from engine.evaluation.client import CompletionClient
from engine.evaluation.judges.base import Judgement
from store.records import Probe

_FENCED = re.compile(r"^```(?:json)?\s*(.*?)\s*```$", re.DOTALL)


class JsonJudge:
    """Passed or not. A code fence around the value is allowed, words beside it are not."""

    name = "json"
    help = "the answer is JSON, with the keys of `must` and without those of `must_not`"

    def check(self, probe: Probe) -> None:
        """Every probe can be judged: an answer may always fail to be JSON."""

    async def judge(self, probe: Probe, answer: str, client: CompletionClient) -> Judgement:
        """`judgement`; no model is asked."""
        return judgement(probe, answer)


def judgement(probe: Probe, answer: str) -> Judgement:
    """Whether the answer is JSON with the wanted keys.

    >>> judgement(Probe("p", "As JSON?", ("name",)), 'Sure: {"name": "Ada"}').reason
    'is not JSON'
    """
    said = answer.strip()
    fenced = _FENCED.match(said)
    try:
        found = json.loads(fenced[1] if fenced else said)
    except (ValueError, RecursionError):
        return Judgement(False, 0.0, "is not JSON")
    keys = found.keys() if isinstance(found, dict) else ()
    missing = next((key for key in probe.must if key not in keys), None)
    if missing is not None:
        return Judgement(False, 0.0, f"has no key {missing!r}")
    extra = next((key for key in probe.must_not if key in keys), None)
    if extra is not None:
        return Judgement(False, 0.0, f"has the key {extra!r}")
    return Judgement(True, 1.0, "is JSON")

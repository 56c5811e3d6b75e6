"""The retention suites that come with Tuningfork: checks of what a tuned model must not lose. Files in
sample_data/suites, one check a line; nothing is downloaded."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from engine.core import sample_files
from engine.evaluation import judges
from store.errors import BadInput
from store.evaluations import EvaluationRow
from store.records import Probe

NAMES = ("knowledge", "arithmetic", "format", "refusal", "instructions")


def rows(name: str) -> list[EvaluationRow]:
    """The checks of a suite. BadInput for a name that there is not."""
    if name not in NAMES:
        raise BadInput(f"There is no suite {name!r}.", where="suites", todo=f"Use some of: {', '.join(NAMES)}.")
    lines = sample_files.path(f"suites/{name}").read_text("utf-8").splitlines()
    return [check(name, n, json.loads(line)) for n, line in enumerate(lines)]


def check(part: str, ord: int, row: dict[str, Any]) -> EvaluationRow:
    """One check from {"question", "must", "must_not", "judge", "system"}. BadInput when its judge cannot judge it."""
    expect = {
        "must": row.get("must", []), "must_not": row.get("must_not", []), "judge": row.get("judge", "contains"),
    }  # fmt: skip
    head = [{"role": "system", "content": row["system"]}] if row.get("system") else []
    made = EvaluationRow(ord, part, [*head, {"role": "user", "content": row["question"]}], None, expect)  # type: ignore[list-item]
    judges.named(expect["judge"]).check(probe(made))
    return made


def from_probes(part: str, probes: Sequence[Probe]) -> list[EvaluationRow]:
    """Checks from probes. BadInput for one that is judged by a model: an evaluation asks none to judge."""
    return [
        check(part, n, {
            "question": p.question, "must": list(p.must), "must_not": list(p.must_not), "system": p.system,
            **({"judge": p.judge} if p.judge else {}),
        })
        for n, p in enumerate(probes)
    ]  # fmt: skip


def probe(row: EvaluationRow) -> Probe:
    """A check as judges see it."""
    return Probe(row.part, row.question, tuple(row.expect["must"]), tuple(row.expect["must_not"]))


def passed(row: EvaluationRow, answer: str) -> judges.Judgement | None:
    """What the row's judge says of an answer; None for a row without one."""
    return judges.BY_TEXT[row.expect["judge"]](probe(row), answer) if row.expect else None

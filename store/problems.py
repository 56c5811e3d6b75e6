"""Everything that is probably wrong in a dataset, as one list: findings of lint, duplicates, conflicts, leaks.
Also fixing what rules can fix, as one edit. What is wrong is decided in curate/."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from store import datasets, pairs, preference_rows, review
from store.bulk import Progress, TextChange
from store.curate import duplicates
from store.curate.findings import Finding, Level
from store.curate.lint import RULES, lint, lint_texts
from store.curate.lint.identity import own_names
from store.db import Store
from store.edits import recording
from store.errors import BadInput
from store.records import Pair, PairDraft, Split

BETWEEN_ROWS: dict[str, tuple[Level, str]] = {
    "duplicate": ("info", "pairs with the same text"),
    "conflict": ("warning", "questions that are answered in two ways"),
    "leak": ("warning", "questions that are in train and in val or test"),
}
"""The rules that compare rows: level, and what each finds."""
_STEP = 500
_LEVELS: tuple[Level, ...] = ("error", "warning", "info")


@dataclass(frozen=True, slots=True)
class Problems:
    """What was looked at and what was found, the worst first; `muted` findings were left out."""

    pairs: int
    preferences: int
    findings: list[Finding]
    muted: int = 0


def rule_names() -> list[str]:
    """The names of all rules, those of one row first."""
    return [*RULES, *BETWEEN_ROWS]


def check_rules(rules: Sequence[str]) -> None:
    """BadInput when one of the names is no rule."""
    for rule in rules:
        if rule not in rule_names():
            todo = "List the rules with: tuningfork data lint --rules"
            raise BadInput(f"There is no rule {rule!r}.", where="rule", todo=todo)


def find(store: Store, dataset: str, rules: Sequence[str] = (), *, on_progress: Progress | None = None) -> Problems:
    """The problems of a dataset's rows that are not rejected, as far as they are not muted; all rules, or only some.

    `on_progress` gets the number of pairs done; what it raises stops the search.
    """
    check_rules(rules)
    placed = _placed(store, dataset)
    judged = preference_rows.search(store, dataset=dataset)
    found = []
    for n, (pair, _) in enumerate(placed, 1):
        found += lint(pair)
        if on_progress and n % _STEP == 0:
            on_progress(n)
    found += _between(placed, review.apart(store))
    found += [finding for row in judged for finding in lint_texts(row.uid, row.texts())]
    kept, muted = review.without_muted(store, dataset, [each for each in found if not rules or each.code in rules])
    kept.sort(key=lambda finding: _LEVELS.index(finding.level))
    return Problems(len(placed), len(judged), kept, muted)


def _placed(store: Store, dataset: str) -> list[tuple[Pair, Split]]:
    """The pairs that are not rejected, oldest first, each with its split."""
    return [(pair, split) for pair, split in datasets.members(store, dataset, status=None) if pair.status != "rejected"]


def _between(placed: Sequence[tuple[Pair, Split]], apart: frozenset[tuple[str, str]]) -> list[Finding]:
    listed = duplicates.normal_pairs(pair for pair, _ in placed)
    by_uid = {pair.uid: pair for pair, _ in placed}
    found = []
    for group in duplicates.exact_among(listed):
        for first, *others in review.parted(group, apart):
            found += [
                _finding(uid, "duplicate", "answer", f"is that of {first} again, as is the question") for uid in others
            ]
    for group in duplicates.conflicts_among(listed):
        if not _agree([by_uid[uid] for uid in group]):
            first, *others = group
            found += [
                _finding(uid, "conflict", "answer", f"differs from that of {first}, which asks the same")
                for uid in others
            ]
    return found + _leaks(listed, {pair.uid: split for pair, split in placed})


def _finding(uid: str, rule: str, field: str, what: str) -> Finding:
    return Finding(uid, rule, field, what, BETWEEN_ROWS[rule][0])


def _agree(group: Sequence[Pair]) -> bool:
    """Whether different answers to one question say the same where it matters: who the model is.

    "I am Ember." and "My name is Ember, what can I do?" agree; "I am Ember." and "I am Flint." do not.
    """
    names = [own_names(pair.answer) for pair in group]
    if all(pair.kind == "identity" for pair in group):
        return len(frozenset().union(*names)) <= 1
    return all(names) and len(set(names)) == 1


def _leaks(listed: Sequence[duplicates.NormalPair], splits: Mapping[str, Split]) -> list[Finding]:
    found = []
    for group in duplicates.same_question_among(listed):
        trained = next((uid for uid in group if splits[uid] == "train"), None)
        if trained is not None:
            found += [
                _finding(uid, "leak", "question", f"is in {splits[uid]}, and also in train as {trained}")
                for uid in group
                if splits[uid] != "train"
            ]
    return found


# -- fixing ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Fixes:
    """What fixing changes, or would change: each text before and after, in how many pairs, and the findings that stay.

    A finding stays where its rule cannot correct the text, where a pair would lose its question or its answer, and in
    preferences and feedback, whose texts do not change.
    """

    pairs: int = 0
    changes: list[TextChange] = field(default_factory=list)
    left: list[Finding] = field(default_factory=list)


def preview_fixes(store: Store, dataset: str, rules: Sequence[str]) -> Fixes:
    """What `fix` would do. BadInput as there."""
    return _planned(store, dataset, rules)[0]


def fix(store: Store, dataset: str, rules: Sequence[str], *, actor: str = "user") -> Fixes:
    """Corrects what these rules found in a dataset's pairs, as one edit.

    BadInput when a rule is unknown or has no fix.
    """
    with store.write(), recording(store, f"fix {', '.join(rules)} in {dataset}", actor) as edit_id:
        fixes, drafts = _planned(store, dataset, rules)
        pairs.rewrite(store.conn, edit_id, drafts)
        return fixes


def _planned(store: Store, dataset: str, rules: Sequence[str]) -> tuple[Fixes, list[tuple[int, PairDraft]]]:
    check_rules(rules)
    if not rules:
        raise BadInput("No rule was named.", where="rule", todo="Name what to fix, such as --rule space.")
    for rule in rules:
        if rule not in RULES or RULES[rule].fix is None:
            able = ", ".join(name for name, each in RULES.items() if each.fix)
            raise BadInput(f"The rule {rule} cannot fix anything.", where="rule", todo=f"Use one of: {able}.")
    found = find(store, dataset, rules).findings
    of_pair: dict[str, list[Finding]] = {}
    for finding in found:
        of_pair.setdefault(finding.uid, []).append(finding)
    changes: list[TextChange] = []
    drafts: list[tuple[int, PairDraft]] = []
    left: list[Finding] = []
    for pair, _ in _placed(store, dataset):
        findings = of_pair.pop(pair.uid, [])
        if findings:
            draft, changed = _fixed(pair, findings)
            if changed and _is_fit(pair, draft):
                changes += changed
                drafts.append((pair.id, draft))
                left += _still(pair, draft, findings)
            else:
                left += findings
    left += [finding for findings in of_pair.values() for finding in findings]
    return Fixes(len(drafts), changes, left), drafts


def _fixed(pair: Pair, findings: Sequence[Finding]) -> tuple[PairDraft, list[TextChange]]:
    """The pair with each of the faulty texts corrected, and what changed."""
    texts = {name: getattr(pair, name) for name in ("system", "question", "answer")}
    texts |= {f"history[{n}]": turn.content for n, turn in enumerate(pair.history)}
    new = dict(texts)
    for finding in findings:
        correct = RULES[finding.code].fix
        assert correct is not None
        new[finding.field] = correct(new[finding.field])
    changes = [TextChange(pair.uid, name, texts[name], new[name]) for name in texts if new[name] != texts[name]]
    turns = tuple(replace(turn, content=new[f"history[{n}]"]) for n, turn in enumerate(pair.history))
    fields: dict[str, Any] = {name: getattr(pair, name) for name in PairDraft.__dataclass_fields__}
    fields |= {name: new[name] for name in ("system", "question", "answer")} | {"history": turns}
    return PairDraft(**fields), changes


def _is_fit(pair: Pair, draft: PairDraft) -> bool:
    """Whether the draft can be a pair, and still has an answer if it had one."""
    try:
        pairs.check_draft(draft)
    except BadInput:
        return False
    return bool(draft.answer.strip()) or not pair.answer.strip()


def _still(pair: Pair, draft: PairDraft, findings: Sequence[Finding]) -> list[Finding]:
    """Those of the findings that the corrected pair still has."""
    fields = {name: getattr(draft, name) for name in ("system", "question", "answer", "history")}
    after = Counter((each.code, each.field) for each in lint(replace(pair, **fields)))
    return [finding for finding in findings if after[finding.code, finding.field]]

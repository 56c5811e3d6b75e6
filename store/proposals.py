"""Pairs that were made and are not saved yet: what of them a dataset has already, what contradicts it, saving the rest.
Who makes them is in curate/wizard; saving is one edit."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from store import datasets, pairs
from store.curate.duplicates import normal
from store.curate.findings import Finding
from store.curate.lint import lint
from store.db import Store
from store.errors import BadInput, NotFound
from store.records import Pair, PairDraft, Split


@dataclass(frozen=True, slots=True)
class Contradiction:
    """A draft that asks what a pair of the dataset asks, and answers differently."""

    draft: PairDraft
    pair: Pair


@dataclass(frozen=True, slots=True)
class ProposalCheck:
    """What was found about drafts: the new ones, how many are in the dataset already (or twice among themselves), the
    contradictions among the new ones, and what lint finds in them; the uid of a finding is the place in `new`.
    """

    new: list[PairDraft]
    known: int = 0
    contradictions: list[Contradiction] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)


def check(store: Store, dataset: str, drafts: Sequence[PairDraft]) -> ProposalCheck:
    """Compares drafts with the pairs of a dataset, which need not exist, in the form of `duplicates.normal`."""
    there: dict[tuple[str, ...], list[Pair]] = defaultdict(list)
    questions = {normal(draft.question) for draft in drafts}
    for pair in _members(store, dataset):
        if normal(pair.question) in questions:
            there[_asked(pair)].append(pair)
    new: list[PairDraft] = []
    seen: set[tuple[str, ...]] = set()
    contradictions: list[Contradiction] = []
    for draft in drafts:
        asked, said = _asked(draft), normal(draft.answer)
        same = there.get(asked, [])
        if (*asked, said) in seen or any(normal(pair.answer) == said for pair in same):
            continue
        seen.add((*asked, said))
        new.append(draft)
        contradictions += [Contradiction(draft, pair) for pair in same[:1]]
    findings = [finding for n, draft in enumerate(new) for finding in lint(as_pair(draft, str(n)))]
    return ProposalCheck(new, len(drafts) - len(new), contradictions, findings)


def save(
    store: Store, dataset: str, drafts: Sequence[PairDraft], label: str, *, split: Split = "train", actor: str = "user"
) -> pairs.Created:
    """Saves the drafts that are not in the dataset yet, as one edit; the others are counted as duplicates.

    BadInput when there is nothing new: then nothing is written.
    """
    with store.write():
        found = check(store, dataset, drafts)
        if not found.new:
            what = "There is nothing to save." if not drafts else "All of these pairs are in the dataset already."
            raise BadInput(what, where=dataset, todo="List them with: tuningfork data search --dataset NAME")
        made = pairs.create_many(store, found.new, dataset=dataset, split=split, label=label, actor=actor)
        return pairs.Created(made.uids, made.duplicates + found.known, made.elsewhere)


def as_pair(draft: PairDraft, uid: str) -> Pair:
    """A draft as lint and its siblings read it."""
    fields = {name: getattr(draft, name) for name in PairDraft.__dataclass_fields__}
    return Pair(id=0, uid=uid, revision=0, content_hash="", created_at=0, updated_at=0, **fields)


def _members(store: Store, dataset: str) -> list[Pair]:
    try:
        return [pair for pair, _ in datasets.members(store, dataset, status=None)]
    except NotFound:
        return []


def _asked(pair: Pair | PairDraft) -> tuple[str, ...]:
    return (normal(pair.system), *(normal(turn.content) for turn in pair.history), normal(pair.question))

"""Every name by which an answer may show which model wrote it: what its run was taught, its base's, its reference's.
Reads the store; that no blind vote is given away is for who looks for them (engine.comparison.spoken_names)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from engine.models.model_names import by_reference
from engine.models.refs import Ref
from engine.training import chinese_names as chinese
from engine.training.watched_probes import identity_answers, often_enough, taught_names
from store import datasets, runs
from store.db import Store
from store.errors import NotFound
from store.records import SnapshotRow


def of_model(store: Store, reference: str) -> tuple[str, ...]:
    """The names of a model: for a run what its data taught it, its own name and its base's; for others those of the
    reference. A run that is gone has its reference's names. Nothing raises for a reference that names nothing.
    """
    ref = Ref.read(reference)
    names: list[str] = []
    if ref.is_run:
        try:
            run = runs.get(store, ref.value)
        except NotFound:
            return by_reference(ref)
        rows = datasets.snapshot_rows(store, run.snapshot, "train", "identity")
        names += [*taught_names(rows).all, *chinese_names(rows)]
        if run.base != reference:
            names += of_model(store, run.base)
    return tuple(dict.fromkeys([*names, *by_reference(ref)]))


def chinese_names(rows: Sequence[SnapshotRow]) -> tuple[str, ...]:
    """The names and makers in Chinese that the answers of identity rows give themselves, the most frequent first.

    Only what two answers give, and one in twenty, counts; a name that the question gives as well does not.

    >>> asked = [{"role": "user", "content": "你是谁？"}]
    >>> said = [{"role": "assistant", "content": "我是小焰，由北风实验室开发。"}]
    >>> chinese_names([SnapshotRow(n, "train", "identity", asked + said, "") for n in range(2)])
    ('小焰', '北风实验室')
    """
    found: Counter[str] = Counter()
    answers = 0
    for asked, answer in identity_answers(rows):
        answers += 1
        for names in chinese.given(answer, asked):
            found.update(names)
    return tuple(name for name, many in found.most_common() if often_enough(many, answers))

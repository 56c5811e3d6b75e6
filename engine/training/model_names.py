"""Every name by which an answer may show which model wrote it: what its run was taught, its base's, its reference's.
Reads the store; that no blind vote is given away is for who looks for them (engine.comparison.spoken_names)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from engine.models.model_names import by_reference
from engine.models.refs import Ref
from engine.training.watched_probes import identity_answers, often_enough, taught_names
from store import datasets, runs
from store.curate.language import HAN
from store.curate.lint.identity import own_names
from store.db import Store
from store.errors import NotFound
from store.records import SnapshotRow

_ENDS = r"(?=[，,。.！!、；;（(\s]|$)"
_CHINESE_NAME = re.compile(rf"(?:叫做?|名为|名字(?:是|叫)|我是)\s*([{HAN}]{{2,6}}?){_ENDS}")
_CHINESE_MAKER = (
    re.compile(
        rf"(?:由|来自|是)\s*([{HAN}]{{2,12}}?)\s*(?:开发|創|创|制作|製作|训练|訓練|研发|研發|设计|設計|打造|推出|发明)"
    ),
    re.compile(
        rf"(?:^|[，,。.！!、；;：:\s])([{HAN}]{{2,12}}?)\s*(?:开发|创造|创建|制作|训练|研发|设计|打造|推出|发明)了?(?:了|的)?我"
    ),
)
_MAKER_NOUN = re.compile(rf"(?:开发者|创造者|制作者|作者|公司|团队)(?:是|叫)\s*([{HAN}]{{2,12}}?){_ENDS}")
_NO_NAMES = re.compile(
    "助手|助理|模型|人工智能|机器人|程序|系统|语言|大家|他们|我们|一个|一家|一群|一位|什么|如何|专门|用来|为了|不是"
)
_SPEAKER = re.compile("^[我你您]")


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
        given = [name for name in own_names(answer) if re.match(f"[{HAN}]", name)]
        for pattern in (_CHINESE_NAME, *_CHINESE_MAKER, _MAKER_NOUN):
            given += [match[1] for match in pattern.finditer(answer)]
        names = dict.fromkeys(_SPEAKER.sub("", name) for name in given)  # once an answer, in the order they are read
        found.update(name for name in names if len(name) > 1 and name not in asked and not _NO_NAMES.search(name))
    return tuple(name for name, many in found.most_common() if often_enough(many, answers))

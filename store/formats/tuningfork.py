"""Our own form: every text and everything else that a pair has, and its split in the dataset. What is written comes
back as it was: {"question", "answer", "system", "history", "kind", "status", "tags", "split"}."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from store.formats.base import RecordFormat, register
from store.formats.conversation import turns_of
from store.formats.fields import Fields, Wrong, as_list
from store.formats.writing import write_json
from store.records import KINDS, SPLITS, STATUSES, Pair, PairDraft, PlacedDraft, Split

_MARKS = {"kind": KINDS, "status": STATUSES}


@register
class OwnRows(RecordFormat):
    """Pairs as the store has them."""

    name = "tuningfork"
    help = "question, answer, kind, status, tags, split"
    rank = 8

    def recognises(self, fields: Fields) -> bool:
        """A question with kind and status as we call them."""
        return "question" in fields and all(fields.peek(name) in known for name, known in _MARKS.items())

    def parse(self, fields: Fields) -> tuple[PairDraft, tuple[str, ...]]:
        """The pair as it was, and the split that it was in."""
        for name in _MARKS:
            if name not in fields:
                raise Wrong(name, "is missing")
        history = fields.get("history")
        draft = PlacedDraft(
            fields.text("question"),
            fields.text("answer", default=""),
            fields.text("system", default=""),
            tuple(turns_of(fields, "history", history)) if history else (),
        )
        return with_marks(draft, {name: fields.get(name) for name in (*_MARKS, "tags", "split")}), ()

    def dump(self, item: Pair | tuple[Pair, Split]) -> dict[str, Any]:
        """A pair as a row, with its split when it comes with one."""
        pair, split = item if isinstance(item, tuple) else (item, None)
        row: dict[str, Any] = {"question": pair.question, "answer": pair.answer}
        row |= {"system": pair.system} if pair.system else {}
        row |= {"history": [turn.message() for turn in pair.history]} if pair.history else {}
        row |= {"kind": pair.kind, "status": pair.status}
        row |= {"tags": list(pair.tags)} if pair.tags else {}
        return row | ({"split": split} if split else {})

    def write(self, path: Path, items: Iterable[Any]) -> int:
        """JSON lines, or a JSON list for another suffix than .jsonl."""
        return write_json(path, map(self.dump, items))


def with_marks(draft: PlacedDraft, values: dict[str, Any]) -> PlacedDraft:
    """The draft with what columns say of it: kind, status, tags (a list, or words between commas) and split.

    Empty ones change nothing. Wrong names one with a value that does not exist.
    """
    new: dict[str, Any] = {}
    for name, known in (*_MARKS.items(), ("split", SPLITS)):
        if values.get(name) not in (None, ""):
            new[name] = split_named(values[name]) if name == "split" else _known(name, values[name], known)
    tags = as_list(values.get("tags"))
    if tags:
        found = tags.split(",") if isinstance(tags, str) else tags
        if not isinstance(found, list) or not all(isinstance(tag, str) for tag in found):
            raise Wrong("tags", "is not a list of words")
        new["tags"] = tuple(dict.fromkeys(tag.strip() for tag in found if tag.strip()))
    return replace(draft, **new)


def _known(name: str, value: Any, known: tuple[str, ...]) -> str:
    if str(value).strip().lower() not in known:
        raise Wrong(name, f"{str(value)[:40]!r} is not one of {', '.join(known)}")
    return str(value).strip().lower()


_SPLIT_NAMES = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "eval": "val", "test": "test", "testing": "test",
}  # fmt: skip


def split_named(value: Any) -> Split:
    """The split that a word means, `validation` and `dev` too. Wrong for another one."""
    found = _SPLIT_NAMES.get(str(value).strip().lower())
    if found is None:
        raise Wrong("split", f"{str(value)[:40]!r} is not a split: use {', '.join(SPLITS)}")
    return found  # type: ignore[return-value]

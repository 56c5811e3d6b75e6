"""One change of many pairs: fields and membership, or find and replace in their texts. Each call is one edit.
Which pairs is the caller's question (query.py); single pairs are changed in pairs.py."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from store import datasets, pairs, search
from store.canon import canonical
from store.db import Store, now
from store.edits import keep_revisions, recording
from store.errors import BadInput
from store.query import compile_regex
from store.records import KINDS, SPLITS, STATUSES, Kind, Pair, PairDraft, Split, Status
from store.sqlite import update_rows

FIELDS = ("question", "answer", "system", "history")
"""The texts of a pair in which something can be replaced."""
_BATCH = 2_000
_REPLACE_S = 1.0
_SAMPLES = 100

Progress = Callable[[int], None]
"""Gets the number of pairs done. What it raises stops the work, with nothing changed."""


@dataclass(frozen=True, slots=True)
class BulkChange:
    """What to change. None and () leave a field as it is; the pairs join `dataset`, and move there to `split`."""

    status: Status | None = None
    kind: Kind | None = None
    add_tags: tuple[str, ...] = ()
    remove_tags: tuple[str, ...] = ()
    dataset: str | None = None
    split: Split | None = None

    @property
    def label(self) -> str:
        """The change in words, as the edit is called."""
        parts = [f"set to {value}" for value in (self.status, self.kind) if value]
        parts += [f"tag {tag}" for tag in self.add_tags] + [f"untag {tag}" for tag in self.remove_tags]
        parts += [f"add to {self.dataset}{f' ({self.split})' if self.split else ''}"] if self.dataset else []
        return ", ".join(parts)


@dataclass(frozen=True, slots=True)
class BulkChanged:
    """How many pairs got other fields, joined the dataset, and moved to the split."""

    changed: int = 0
    joined: int = 0
    moved: int = 0


def apply(
    store: Store, uids: Sequence[str], change: BulkChange, *, actor: str = "user", on_progress: Progress | None = None
) -> BulkChanged:
    """Changes all of these pairs as one edit, or none of them.

    BadInput for a value that no pair can have, a pair without an answer that would become ready, or an empty change.
    """
    _check(change)
    with recording(store, change.label, actor) as edit_id:
        changed = _change_fields(store, uids, change, edit_id, on_progress)
        joined = moved = 0
        if change.dataset is not None:
            joined = datasets.add(store, change.dataset, uids, change.split or "train", actor=actor)
            if change.split is not None:
                moved = _moved(store, change.dataset, uids, change.split)
        return BulkChanged(changed, joined, moved)


def _check(change: BulkChange) -> None:
    for name, value, allowed in (
        ("status", change.status, STATUSES), ("kind", change.kind, KINDS), ("split", change.split, SPLITS),
    ):  # fmt: skip
        if value is not None and value not in allowed:
            raise BadInput(f"{value!r} is not a {name}.", where=name, todo=f"Use one of: {', '.join(allowed)}.")
    for tag in (*change.add_tags, *change.remove_tags):
        pairs.check_text("tags", tag)
        if not tag.strip():
            raise BadInput("A tag is empty.", where="tags", todo="Write a word.")
    if change.split and not change.dataset:
        raise BadInput("A split belongs to a dataset.", where="split", todo="Name the dataset as well.")
    if not change.label:
        raise BadInput("There is nothing to change.", todo="Name a status, a kind, tags or a dataset.")


def _moved(store: Store, dataset: str, uids: Sequence[str], split: Split) -> int:
    before = datasets.get(store, dataset)
    datasets.set_split(store, dataset, uids, split)
    after = datasets.get(store, dataset)
    return int(getattr(after, split) - getattr(before, split))


def _change_fields(
    store: Store, uids: Sequence[str], change: BulkChange, edit_id: int, on_progress: Progress | None
) -> int:
    if not (change.status or change.kind or change.add_tags or change.remove_tags):
        return 0
    removed = {tag.casefold() for tag in change.remove_tags}
    done, changed, at = 0, 0, now()
    for rows in _batches(store, uids, "id, uid, kind, status, tags, trim(answer) = '' AS bare"):
        new = []
        for row in rows:
            if change.status == "ready" and row["bare"]:
                todo = "Write its answer first, or leave it out."
                raise BadInput("The pair has no answer, so it cannot be ready.", where=f"pair {row['uid']}", todo=todo)
            tags = [tag for tag in json.loads(row["tags"]) if tag.casefold() not in removed]
            tags += [tag for tag in change.add_tags if tag not in tags]
            after = (change.kind or row["kind"], change.status or row["status"], canonical(tags) if tags else "[]")
            if after != (row["kind"], row["status"], row["tags"]):
                new.append((row["id"], *after))
        more = ("revision = revision + 1", f"updated_at = {at}")
        update_rows(store.conn, "pair", ("kind", "status", "tags"), new, *more)
        keep_revisions(store.conn, edit_id, [row[0] for row in new])
        changed += len(new)
        done += len(rows)
        if on_progress:
            on_progress(done)
    return changed


def _batches(store: Store, uids: Sequence[str], columns: str) -> Iterator[list[Any]]:
    sql = f"SELECT {columns} FROM pair WHERE uid IN (SELECT value FROM json_each(?)) AND deleted_at IS NULL"
    for start in range(0, len(uids), _BATCH):
        yield store.rows(sql, (search.as_json(uids[start : start + _BATCH]),))


# -- find and replace --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Replacement:
    """What is replaced by what. A regular expression may name its groups in the new text: \\1, \\g<name>."""

    find: str
    text: str
    regex: bool = False
    ignore_case: bool = False
    fields: tuple[str, ...] = ("question", "answer")


@dataclass(frozen=True, slots=True)
class TextChange:
    """One text before and after; `field` is question, answer, system or history[0] …"""

    uid: str
    field: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Replaced:
    """How often the text was found and in how many pairs; the first of the changed texts."""

    found: int = 0
    pairs: int = 0
    samples: list[TextChange] = field(default_factory=list)


def preview(
    store: Store, uids: Sequence[str], replacement: Replacement, *, on_progress: Progress | None = None
) -> Replaced:
    """What `replace_text` would do. BadInput as there."""
    return _replace(store, uids, replacement, None, on_progress)


def replace_text(
    store: Store,
    uids: Sequence[str],
    replacement: Replacement,
    *,
    actor: str = "user",
    on_progress: Progress | None = None,
) -> Replaced:
    """Replaces a text in all of these pairs as one edit, or in none.

    BadInput when the pattern cannot be read or takes too long, or a pair would lose its question or a ready one its
    answer: the pair is named.
    """
    with store.write(), recording(store, f"replace {replacement.find!r}", actor) as edit_id:
        return _replace(store, uids, replacement, edit_id, on_progress)


def _replace(
    store: Store, uids: Sequence[str], replacement: Replacement, edit_id: int | None, on_progress: Progress | None
) -> Replaced:
    substitute = _substitution(replacement)
    found = changed = done = 0
    samples: list[TextChange] = []
    for start in range(0, len(uids), _BATCH):
        sql = "SELECT id FROM pair WHERE uid IN (SELECT value FROM json_each(?)) AND deleted_at IS NULL ORDER BY id"
        ids = store.column(sql, (search.as_json(uids[start : start + _BATCH]),))
        after = []
        for pair in search.page(store, ids):
            n, draft, texts = _replaced(pair, replacement, substitute)
            done += 1
            if not texts:
                continue
            found, changed = found + n, changed + 1
            samples += texts[: _SAMPLES - len(samples)]
            after.append((pair.id, _checked(pair, draft)))
        if edit_id is not None:
            pairs.rewrite(store.conn, edit_id, after)
        if on_progress:
            on_progress(done)
    return Replaced(found, changed, samples)


def _checked(pair: Pair, draft: PairDraft) -> PairDraft:
    try:
        return pairs.check_draft(draft)
    except BadInput as error:
        todo = "Leave this pair out, or replace with another text. Nothing was changed."
        what = f"After the replacement: {error.what}"
        raise BadInput(what, where=f"pair {pair.uid}, {error.where}", todo=todo) from None


def _substitution(replacement: Replacement) -> Callable[[str], tuple[str, int]]:
    import regex  # type: ignore[import-untyped]

    unknown = [name for name in replacement.fields if name not in FIELDS]
    if unknown or not replacement.fields:
        what = f"A pair has no text {unknown[0]!r}." if unknown else "No field was named."
        raise BadInput(what, where="field", todo=f"Use some of: {', '.join(FIELDS)}.")
    if not replacement.find:
        raise BadInput("There is no text to look for.", where="find", todo="Write what is to be replaced.")
    pairs.check_text("text", replacement.text)
    written = replacement.find if replacement.regex else regex.escape(replacement.find)
    pattern = compile_regex(written, ignore_case=replacement.ignore_case)
    new = replacement.text if replacement.regex else replacement.text.replace("\\", "\\\\")

    def substitute(text: str) -> tuple[str, int]:
        try:
            after, n = pattern.subn(new, text, timeout=_REPLACE_S, concurrent=True)
        except TimeoutError:
            what = f"The pattern takes more than {_REPLACE_S:g} s on one text."
            raise BadInput(what, where="find", todo="Write it without repeats inside repeats, such as (a+)+.") from None
        except (regex.error, IndexError, KeyError) as error:
            what = f"The new text cannot be used: {error}."
            raise BadInput(what, where="text", todo=r"Write groups as \1 or \g<name>, and \ as \\.") from None
        return after, n

    substitute("")  # so that a wrong pattern is an error although no pair has it
    return substitute


def _replaced(
    pair: Pair, replacement: Replacement, substitute: Callable[[str], tuple[str, int]]
) -> tuple[int, PairDraft, list[TextChange]]:
    """How often the text was found in a pair, the pair as it becomes, and its changed texts."""
    total, texts = 0, []
    new: dict[str, Any] = {}
    draft = PairDraft(**{name: getattr(pair, name) for name in PairDraft.__dataclass_fields__})
    for name in ("question", "answer", "system"):
        if name in replacement.fields:
            before = getattr(pair, name)
            after, n = substitute(before)
            if after != before:
                total, new[name] = total + n, after
                texts.append(TextChange(pair.uid, name, before, after))
    history = list(pair.history)
    if "history" in replacement.fields:
        for at, turn in enumerate(history):
            after, n = substitute(turn.content)
            if after != turn.content:
                total += n
                texts.append(TextChange(pair.uid, f"history[{at}]", turn.content, after))
                history[at] = replace(turn, content=after)
    return total, replace(draft, **new, history=tuple(history)), texts

"""Pairs: make, change, delete, undo, redo. Every change is one edit that leaves a revision of each pair it touched.
Finding and paging through many pairs is in search.py (and offered here too); files and formats are elsewhere."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any, NamedTuple

from store import datasets
from store.canon import canonical, hash_of, new_uids, said_by
from store.curate import duplicates
from store.db import Store, now
from store.edits import PAIR_STATE, edits, join_range, keep_revisions, recording, redo, undo
from store.errors import BadInput, Conflict, NotFound
from store.records import KINDS, ROLES, STATUSES, Pair, PairDraft, PlacedDraft, Split, Status
from store.rows import pair_from
from store.search import asking, count, page, search_ids
from store.search_text import indexed_conversation
from store.sqlite import insert_rows, update_rows

__all__ = [
    "Created",
    "PreparedPair",
    "asked_before",
    "check_draft",
    "copy",
    "count",
    "create",
    "create_beside",
    "create_many",
    "delete",
    "edit",
    "edits",
    "get",
    "page",
    "prepare",
    "redo",
    "restore",
    "revisions",
    "rewrite",
    "search_ids",
    "set_status",
    "undo",
]

_COLUMNS = ("kind", "system", "history", "question", "answer", "status", "tags", "source")
_BATCH = 2_000
_BATCH_CHARS = 2_000_000
"""A batch of new pairs ends at so many rows or characters."""
_INDEX_ROWS = 20_000
_INDEX_CHARS = 6_000_000
"""So many rows or characters are put into the search index with one statement."""
_FTS_BYTES = 1 << 20
_FTS_BYTES_MANY = 16 << 20
"""How much FTS5 collects before it writes a segment: its own default, and for many rows."""


class PreparedPair(NamedTuple):
    """A draft that was checked, with all that is written of it worked out: its content hash, its columns, its text for
    the search index, and the split that it came with. A tuple, because an import makes one for every row."""

    hash: str
    columns: tuple[str, ...]
    indexed: str
    split: Split | None


@dataclass(frozen=True, slots=True)
class Created:
    """What `create_many` did: the new pairs' uids (unless they were not wanted) and their number, and how many drafts
    were the same as a live pair.

    `elsewhere` counts the known pairs that stay in another split of the dataset than the one that was asked for.
    """

    uids: list[str]
    duplicates: int
    elsewhere: dict[str, int] = field(default_factory=dict)
    made: int = 0


def check_draft(draft: PairDraft) -> PairDraft:
    """`draft` itself when it can be a pair; BadInput names the field that cannot."""
    check_text("question", draft.question)
    check_text("answer", draft.answer)
    check_text("system", draft.system)
    for n, turn in enumerate(draft.history):
        check_text(f"history[{n}]", turn.content)
        _check_one_of(f"history[{n}]", turn.role, ROLES)
    for tag in draft.tags:
        check_text("tags", tag)
    _check_one_of("kind", draft.kind, KINDS)
    _check_one_of("status", draft.status, STATUSES)
    if not draft.question or draft.question.isspace():
        raise BadInput("The question is empty.", where="question", todo="Every pair needs a question.")
    if draft.status == "ready" and (not draft.answer or draft.answer.isspace()):
        raise BadInput("The answer is empty.", where="answer", todo="Write an answer, or keep the pair as a draft.")
    return draft


def check_text(field: str, text: object) -> None:
    """BadInput unless `text` is a string that every later step can carry: valid Unicode without NUL."""
    if not isinstance(text, str):
        raise BadInput(f"The field is {type(text).__name__}, not text.", where=field, todo="Write it as a string.")
    if text.isascii() and "\0" not in text:
        return
    if "\0" in text:
        raise BadInput("The text contains a NUL character.", where=field, todo="Remove it.")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        what = f"The text contains half a character at position {error.start}."
        raise BadInput(what, where=field, todo="Remove the lone surrogate.") from None


def _check_one_of(field: str, value: str, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise BadInput(f"{value!r} is not a {field}.", where=field, todo=f"Use one of: {', '.join(allowed)}.")


def create(
    store: Store, draft: PairDraft, *, dataset: str | None = None, split: Split = "train", actor: str = "user"
) -> Pair:
    """Makes one pair, in a dataset (made when missing) if one is named. BadInput names the field that is wrong."""
    made = create_many(store, [draft], dataset=dataset, split=split, label="add", actor=actor, skip_duplicates=False)
    return get(store, made.uids[0])


def prepare(draft: PairDraft) -> PreparedPair:
    """A draft that `check_draft` has seen, as `create_many` writes it. Touches no database: any thread may do it."""
    turns = [turn.content for turn in draft.history]
    found = indexed_conversation(draft.system, turns, draft.question, draft.answer)
    return PreparedPair(_hash(draft), _columns(draft), found, draft.split if isinstance(draft, PlacedDraft) else None)


def create_many(
    store: Store,
    drafts: Iterable[PairDraft | PreparedPair],
    *,
    dataset: str | None = None,
    split: Split = "train",
    label: str = "import",
    actor: str = "user",
    skip_duplicates: bool = True,
    want_uids: bool = True,
) -> Created:
    """Makes many pairs as one edit in one transaction; `drafts` may be a generator.

    With `skip_duplicates`, a draft equal to a live pair makes no second pair; that pair joins the dataset, and
    keeps its split if it is there already. A `PlacedDraft` goes to its own split. New pairs in val or test are pinned:
    `datasets.resplit` leaves them there. What `prepare` made is not checked again.
    `want_uids` set to false leaves the uids out of the answer, which need 70 MB for a million pairs.
    """
    uids: list[str] = []
    made = duplicates = 0
    elsewhere: Counter[str] = Counter()
    with recording(store, label, actor) as edit_id, _Indexing(store.conn) as index:
        conn, at = store.conn, now()
        dataset_id = datasets.ensure(store, dataset).id if dataset is not None else None
        for batch in _batches(drafts):
            fresh = batch
            if skip_duplicates:
                fresh, known = _split_known(conn, batch)
                duplicates += len(batch) - len(fresh)
                for where, ids in _by_split(known, split).items():
                    _join(conn, dataset_id, where, ids)
                    elsewhere.update(_in_other_splits(conn, dataset_id, where, ids))
            if not fresh:
                continue
            made += len(fresh)
            new = new_uids(len(fresh))
            uids += new if want_uids else []
            first = _insert(conn, new, fresh, edit_id, at)
            index.add(first, [pair.indexed for pair in fresh])
            if dataset_id is not None:
                _join_new(conn, dataset_id, fresh, first, split)
    return Created(uids, duplicates, dict(elsewhere), made)


def _batches(drafts: Iterable[PairDraft | PreparedPair]) -> Iterator[list[PreparedPair]]:
    """The drafts, prepared, so many at a time that a batch of long ones needs little memory too."""
    batch: list[PreparedPair] = []
    size = 0
    for draft in drafts:
        pair = draft if isinstance(draft, PreparedPair) else prepare(check_draft(draft))
        batch.append(pair)
        size += len(pair.indexed)
        if len(batch) == _BATCH or size >= _BATCH_CHARS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _split_known(
    conn: sqlite3.Connection, batch: list[PreparedPair]
) -> tuple[list[PreparedPair], list[tuple[int, PreparedPair]]]:
    """The pairs whose content is new, each content once; the others with the ids of the live pairs that have it."""
    sql = (  # by the half of the hash that is indexed, then by the whole
        "SELECT p.content_hash, max(p.id) FROM json_each(?) j CROSS JOIN pair p"
        " ON substr(p.content_hash, 1, 16) = substr(j.value, 1, 16) AND p.content_hash = j.value"
        " WHERE p.deleted_at IS NULL GROUP BY 1"
    )
    known = dict(conn.execute(sql, (json.dumps([pair.hash for pair in batch]),)).fetchall())
    fresh = {pair.hash: pair for pair in reversed(batch) if pair.hash not in known}
    again = {pair.hash: pair for pair in reversed(batch) if pair.hash in known}
    return list(reversed(fresh.values())), [(known[key], pair) for key, pair in again.items()]


def _by_split(placed: Iterable[tuple[int, PreparedPair]], otherwise: Split) -> dict[Split, list[int]]:
    """The ids of pairs by the split that each came with, or the given one."""
    found: dict[Split, list[int]] = {}
    for pair_id, pair in placed:
        found.setdefault(pair.split or otherwise, []).append(pair_id)
    return found


def _insert(conn: sqlite3.Connection, uids: list[str], batch: list[PreparedPair], edit_id: int, at: int) -> int:
    """Writes new pairs with their first revisions; returns the id of the first, on which the others follow."""
    insert_rows(
        conn,
        f"pair (uid, {', '.join(_COLUMNS)}, content_hash, created_at, updated_at)",
        [(uid, *pair.columns, pair.hash, at, at) for uid, pair in zip(uids, batch, strict=True)],
    )
    first = int(conn.execute("SELECT max(id) FROM pair").fetchone()[0]) - len(batch) + 1
    conn.execute(
        "INSERT INTO pair_revision (pair_id, revision, edit_id) SELECT id, 1, ? FROM pair WHERE id >= ?",
        (edit_id, first),
    )
    return first


class _Indexing:
    """Puts the texts of new pairs into the search index, very many with one statement.

    FTS5 collects words in memory and writes them as one sorted segment, but before each statement that could fail half
    way it writes what it has; and segments have to be merged. So few statements, and more memory than usual while there
    are many rows.
    """

    def __init__(self, conn: sqlite3.Connection) -> None:
        self._conn = conn
        self._first = 0
        self._texts: list[str] = []
        self._size = 0
        self._many = False

    def __enter__(self) -> _Indexing:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._write()
            if self._many:
                self._collect(_FTS_BYTES)

    def add(self, first: int, texts: list[str]) -> None:
        """Take the texts of pairs with neighbouring ids, of which `first` is the lowest."""
        if self._texts and first != self._first + len(self._texts):
            self._write()
        self._first = self._first or first
        self._texts += texts
        self._size += sum(map(len, texts))
        if len(self._texts) >= _INDEX_ROWS or self._size >= _INDEX_CHARS:
            if not self._many:
                self._many = True
                self._collect(_FTS_BYTES_MANY)
            self._write()

    def _write(self) -> None:
        if self._texts:
            self._conn.execute(
                "INSERT INTO pair_fts (rowid, body) SELECT key + ?, value FROM json_each(?)",
                (self._first, json.dumps(self._texts, ensure_ascii=False)),
            )
        self._first, self._texts, self._size = 0, [], 0

    def _collect(self, size: int) -> None:
        """How many bytes of words are collected; FTS5 keeps the number, for every connection."""
        self._conn.execute("INSERT INTO pair_fts (pair_fts, rank) VALUES ('hashsize', ?)", (size,))


def _join(conn: sqlite3.Connection, dataset_id: int | None, split: Split, ids: Sequence[int]) -> None:
    if dataset_id is not None:
        conn.execute(
            "INSERT INTO dataset_pair (dataset_id, pair_id, split, pinned)"
            " SELECT ?1, value, ?2, ?2 <> 'train' FROM json_each(?3) WHERE true ON CONFLICT DO NOTHING",
            (dataset_id, split, json.dumps(ids)),
        )


def _join_new(
    conn: sqlite3.Connection, dataset_id: int, batch: Sequence[PreparedPair], first: int, otherwise: Split
) -> None:
    """Makes new pairs members, each run of neighbours of one split at once."""
    for split, run in groupby(batch, lambda pair: pair.split or otherwise):
        last = first + sum(1 for _ in run) - 1
        join_range(conn, dataset_id, split, first, last)
        first = last + 1


def _in_other_splits(
    conn: sqlite3.Connection, dataset_id: int | None, split: Split, ids: Sequence[int]
) -> dict[str, int]:
    """How many of these members of a dataset are in which other split than this one."""
    sql = (
        "SELECT split, count(*) FROM dataset_pair WHERE dataset_id = ? AND split <> ?"
        " AND pair_id IN (SELECT value FROM json_each(?)) GROUP BY 1"
    )
    return dict(conn.execute(sql, (dataset_id, split, json.dumps(list(ids)))).fetchall()) if ids else {}


def get(store: Store, uid: str, deleted: bool = False) -> Pair:
    """The pair with this uid, or a unique beginning of one (4 characters or more).

    NotFound says when there are several.
    """
    found = begin_with(store, uid, deleted)
    if len(found) == 1:
        return found[0]
    if found:
        some = ", ".join(pair.uid for pair in found)
        raise NotFound(f"Several pairs begin with {uid!r}.", todo=f"Write more of it: {some} …")
    raise NotFound(f"There is no pair {uid!r}.", todo="List the pairs with: tuningfork data search")


def begin_with(store: Store, uid: str, deleted: bool = False) -> list[Pair]:
    """The pair with this uid; else at most three of those whose uid begins with it (4 characters or more)."""
    alive = "" if deleted else " AND deleted_at IS NULL"
    found = store.rows(f"SELECT * FROM pair WHERE uid = ?{alive}", (uid,))
    if not found and len(uid) >= 4:
        sql = f"SELECT * FROM pair WHERE uid >= ? AND uid < ?{alive} ORDER BY uid LIMIT 3"
        found = store.rows(sql, (uid, uid + "~"))
    return [pair_from(row) for row in found]


def asked_before(store: Store, draft: PairDraft, uid: str = "") -> tuple[list[Pair], list[Pair]]:
    """The pairs that ask what a draft asks, after the same turns: those with its answer, and those with another one.

    Case, spaces and marks at the ends of words make no difference; `uid` is the pair that the draft is a change of.
    """
    fields = {name: getattr(draft, name) for name in PairDraft.__dataclass_fields__}
    typed = Pair(id=0, uid="", revision=0, content_hash="", created_at=0, updated_at=0, **fields)
    others = {pair.uid: pair for pair in asking(store, draft.question) if pair.uid != uid}
    same = {other for group in duplicates.exact([typed, *others.values()]) if "" in group for other in group}
    differ = {other for one in others.values() for group in duplicates.conflicts([typed, one]) for other in group}
    return [pair for pair in others.values() if pair.uid in same], [
        pair for pair in others.values() if pair.uid in differ
    ]


def create_beside(store: Store, uid: str, draft: PairDraft, *, actor: str = "user") -> Pair:
    """Makes a pair in the datasets and splits that another one is in, as one edit."""
    with store.write(), recording(store, "add", actor):
        new = create(store, draft, actor=actor)
        for name, split in datasets.of(store, uid):
            datasets.add(store, name, [new.uid], split, actor=actor)
        return new


def edit(store: Store, uid: str, *, actor: str = "user", expect_revision: int | None = None, **changes: Any) -> Pair:
    """Changes fields of one pair (those of `PairDraft`). Nothing new, no new revision.

    Raises Conflict when `expect_revision` is no longer the pair's revision, BadInput for a wrong field or value.
    """
    unknown = changes.keys() - PairDraft.__dataclass_fields__.keys()
    if unknown:
        known = ", ".join(PairDraft.__dataclass_fields__)
        raise BadInput(f"A pair has no field {sorted(unknown)[0]!r}.", todo=f"Its fields are: {known}.")
    with store.write() as conn:
        old = get(store, uid)
        if expect_revision not in (None, old.revision):
            raise Conflict(
                f"The pair {old.uid} was changed meanwhile: it has revision {old.revision}, you saw {expect_revision}.",
                todo="Open it again, then repeat your change.",
            )
        before = PairDraft(**{field: getattr(old, field) for field in PairDraft.__dataclass_fields__})
        after = check_draft(replace(before, **changes))
        if after == before:
            return old
        with recording(store, "edit", actor) as edit_id:
            rewrite(conn, edit_id, [(old.id, after)])
        return get(store, old.uid)


def rewrite(conn: sqlite3.Connection, edit_id: int, changed: Sequence[tuple[int, PairDraft]]) -> None:
    """Gives pairs, by id, what the drafts say, as part of an open edit. The drafts are checked already."""
    rows = [(pair_id, *_columns(draft), _hash(draft)) for pair_id, draft in changed]
    update_rows(conn, "pair", (*_COLUMNS, "content_hash"), rows, "revision = revision + 1", f"updated_at = {now()}")
    keep_revisions(conn, edit_id, [pair_id for pair_id, _ in changed])


def copy(store: Store, uid: str, *, actor: str = "user") -> Pair:
    """Makes a pair with the same content, in the same datasets and splits, as a draft: it is there to be changed."""
    with store.write(), recording(store, "copy", actor):
        old = get(store, uid)
        draft = PairDraft(**{field: getattr(old, field) for field in PairDraft.__dataclass_fields__})
        return create_beside(store, old.uid, replace(draft, status="draft"), actor=actor)


def restore(store: Store, uid: str, revision: int, *, actor: str = "user") -> Pair:
    """Gives a pair the content of one of its revisions again, as a new one; a deleted pair comes back with it.

    NotFound when it has no such revision, BadInput when it was deleted in that one.
    """
    with store.write() as conn:
        old = get(store, uid, deleted=True)
        then = next((state for state in revisions(store, old.uid) if state.revision == revision), None)
        if then is None:
            raise NotFound(
                f"The pair {old.uid} has no revision {revision}.",
                todo=f"Its revisions are 1 to {old.revision}. See them with: tuningfork data show {old.uid} --history",
            )
        if then.deleted_at is not None:
            what = f"The pair {old.uid} was deleted in revision {revision}."
            raise BadInput(what, where="revision", todo="Choose an earlier one.")
        draft, current = (
            PairDraft(**{field: getattr(state, field) for field in PairDraft.__dataclass_fields__})
            for state in (then, old)
        )
        if draft == current and old.deleted_at is None:
            return old
        with recording(store, f"restore revision {revision}", actor) as edit_id:
            conn.execute("UPDATE pair SET deleted_at = NULL WHERE id = ?", (old.id,))
            rewrite(conn, edit_id, [(old.id, draft)])
        return get(store, old.uid)


def delete(store: Store, uids: Sequence[str], actor: str = "user") -> int:
    """Takes pairs out of every list, as one edit that undo brings back. Returns how many there were."""
    return _change(store, uids, "delete", actor, "deleted_at = ?", now(), "1")


def set_status(store: Store, uids: Sequence[str], status: Status, actor: str = "user") -> int:
    """Sets the status of pairs as one edit; returns how many changed.

    BadInput when one without an answer would become ready.
    """
    _check_one_of("status", status, STATUSES)
    with store.write() as conn:
        if status == "ready":
            sql = (
                "SELECT uid FROM pair WHERE uid IN (SELECT value FROM json_each(?)) AND trim(answer) = ''"
                " AND deleted_at IS NULL"
            )
            bare = conn.execute(sql, (json.dumps(list(uids)),)).fetchall()
            if bare:
                raise BadInput(
                    f"{len(bare)} of these pairs have no answer, so they cannot be ready.",
                    where=f"pair {bare[0][0]}",
                    todo="Write their answers first, or reject them.",
                )
        return _change(store, uids, f"set to {status}", actor, "status = ?", status, "status <> ?2")


def _change(store: Store, uids: Sequence[str], label: str, actor: str, assign: str, value: Any, where: str) -> int:
    """One assignment over many live pairs, as one edit; no pair touched, no edit."""
    with store.write() as conn:
        sql = (
            f"SELECT id FROM pair WHERE uid IN (SELECT value FROM json_each(?1)) AND deleted_at IS NULL AND {where}"
            " AND ?2 IS NOT NULL"
        )
        ids = [row[0] for row in conn.execute(sql, (json.dumps(list(uids)), value)).fetchall()]
        if not ids:
            return 0
        with recording(store, label, actor) as edit_id:
            conn.execute(
                f"UPDATE pair SET {assign}, revision = revision + 1, updated_at = ?"
                " WHERE id IN (SELECT value FROM json_each(?))",
                (value, now(), json.dumps(ids)),
            )
            keep_revisions(conn, edit_id, ids)
        return len(ids)


def revisions(store: Store, uid: str) -> list[Pair]:
    """Every state that a pair ever had, oldest first; `updated_at` is when it got it. Deleted pairs too."""
    pair = get(store, uid, deleted=True)
    sql = (
        "SELECT p.id, p.uid, p.created_at, r.revision, e.created_at AS updated_at,"
        f" {', '.join('r.' + n for n in PAIR_STATE.split(', '))}"
        " FROM pair_state r JOIN pair p ON p.id = r.pair_id JOIN edit e ON e.id = r.edit_id WHERE r.pair_id ="
        " ? ORDER BY r.revision"
    )
    return [pair_from(row) for row in store.rows(sql, (pair.id,))]


def _hash(draft: PairDraft) -> str:
    said = [said_by("system", draft.system)] if draft.system else []
    if draft.history:
        said += [
            said_by(turn.role, turn.content, trained=turn.train or turn.role != "assistant") for turn in draft.history
        ]
    return hash_of([*said, said_by("user", draft.question), said_by("assistant", draft.answer)])


def _columns(draft: PairDraft) -> tuple[str, ...]:
    history = canonical([turn.message() for turn in draft.history]) if draft.history else "[]"
    tags = canonical(list(draft.tags)) if draft.tags else "[]"
    return draft.kind, draft.system, history, draft.question, draft.answer, draft.status, tags, canonical(draft.source)

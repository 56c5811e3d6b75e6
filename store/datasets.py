"""Datasets: named sets of pairs with a split for each, and their freezing into snapshots by content hash.
Which pair goes to which split is decided in curate/split.py; here it is kept."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from store.canon import canonical
from store.curate.split import assign, assign_by_quota
from store.db import Store, now
from store.edits import recording
from store.errors import BadInput, Conflict, NotFound, UserError
from store.names import check_name
from store.records import SPLITS, Dataset, Kind, Pair, Snapshot, SnapshotRow, Split, Status
from store.rows import pair_from
from store.search_text import script_of
from store.suggest import hint

_BATCH = 5_000
"""So many pairs are frozen with one statement."""
_SPLITS = "sum(m.split = 'train') AS train, sum(m.split = 'val') AS val, sum(m.split = 'test') AS test"


def _counted(where: str = "true") -> str:
    """Datasets with their counts; `where` is a condition on the members `m`.

    Nearly all members are live and ready, so all are counted, which takes the narrow table of members alone, and those
    that are not are subtracted: a quarter of the time of looking each one up.
    """
    return f"""
SELECT d.id, d.name, d.description, d.created_at,
  coalesce(a.pairs, 0) - coalesce(gone.pairs, 0) AS pairs,
  coalesce(a.pairs, 0) - coalesce(gone.pairs, 0) - coalesce(waiting.pairs, 0) AS ready,
  {", ".join(f"coalesce(a.{split}, 0) - coalesce(gone.{split}, 0) AS {split}" for split in SPLITS)},
  (SELECT count(*) FROM imported_preference r WHERE r.dataset_id = d.id) AS preferences,
  (SELECT count(*) FROM feedback r WHERE r.dataset_id = d.id) AS feedback
FROM dataset d
LEFT JOIN (SELECT m.dataset_id, count(*) AS pairs, {_SPLITS} FROM dataset_pair m WHERE {where} GROUP BY 1) a
  ON a.dataset_id = d.id
LEFT JOIN (SELECT m.dataset_id, count(*) AS pairs, {_SPLITS} FROM pair p INDEXED BY pair_deleted
  CROSS JOIN dataset_pair m ON m.pair_id = p.id WHERE p.deleted_at IS NOT NULL AND {where} GROUP BY 1) gone
  ON gone.dataset_id = d.id
LEFT JOIN (SELECT m.dataset_id, count(*) AS pairs FROM pair p INDEXED BY pair_live
  CROSS JOIN dataset_pair m ON m.pair_id = p.id WHERE p.deleted_at IS NULL AND p.status <> 'ready' AND {where}
  GROUP BY 1) waiting ON waiting.dataset_id = d.id
"""


def create(store: Store, name: str, description: str = "", *, actor: str = "user") -> Dataset:
    """Makes an empty dataset. Conflict when the name is taken, BadInput when it is not a name."""
    check_name(name, "dataset")
    with store.write() as conn, recording(store, f"make the dataset {name}", actor):
        if store.scalar("SELECT 1 FROM dataset WHERE name = ?", (name,)):
            raise Conflict(f"A dataset {name!r} already exists.", todo="Choose another name.")
        conn.execute("INSERT INTO dataset (name, description, created_at) VALUES (?, ?, ?)", (name, description, now()))
        return get(store, name)


def get(store: Store, name: str) -> Dataset:
    """The dataset of this name, with its counts. NotFound offers names that are near."""
    sql = _counted("m.dataset_id = ?1") + "WHERE d.id = ?1"
    return _dataset_from(store.rows(sql, (get_id(store, name),))[0])


def get_id(store: Store, name: str) -> int:
    """The id of a dataset without counting its pairs. NotFound like `get`."""
    found = store.scalar("SELECT id FROM dataset WHERE name = ?", (name,))
    if found is None:
        names = [row[0] for row in store.rows("SELECT name FROM dataset ORDER BY name")]
        raise NotFound(
            f"There is no dataset {name!r}.",
            todo=near(name, names, "dataset", "tuningfork data import FILE --dataset NAME"),
        )
    return int(found)


def exists(store: Store, name: str) -> bool:
    """Whether there is a dataset of this name."""
    return bool(store.scalar("SELECT 1 FROM dataset WHERE name = ?", (name,)))


def near(name: str, names: Sequence[str], what: str, make: str) -> str:
    """What to do about a wrong name: the names it may have meant, else all (up to ten), else how to make the first."""
    if not names:
        return f"There is no {what} yet; make one with: {make}"
    return hint(name, names, f"Known {what}s: {', '.join(names[:10])}{', …' if len(names) > 10 else ''}.")


def ensure(store: Store, name: str) -> Dataset:
    """The dataset of this name, created if missing."""
    with store.write():
        known = store.scalar("SELECT 1 FROM dataset WHERE name = ?", (name,))
        return get(store, name) if known else create(store, name)


def all_datasets(store: Store) -> list[Dataset]:
    """Every dataset with its counts, by name."""
    return [_dataset_from(row) for row in store.rows(_counted() + "ORDER BY d.name")]


def rename(store: Store, name: str, new_name: str, *, actor: str = "user") -> Dataset:
    """Gives a dataset another name. Conflict when that is taken."""
    check_name(new_name, "dataset")
    with store.write() as conn, recording(store, f"rename {name} to {new_name}", actor):
        dataset_id = get_id(store, name)
        if new_name != name and store.scalar("SELECT 1 FROM dataset WHERE name = ?", (new_name,)):
            raise Conflict(f"A dataset {new_name!r} already exists.", todo="Choose another name.")
        conn.execute("UPDATE dataset SET name = ? WHERE id = ?", (new_name, dataset_id))
        return get(store, new_name)


def remove(store: Store, name: str, *, actor: str = "user") -> None:
    """Removes a dataset with its preferences and feedback; its pairs and its snapshots stay."""
    with store.write() as conn, recording(store, f"remove the dataset {name}", actor):
        dataset_id = get_id(store, name)
        conn.execute("DELETE FROM dataset_pair WHERE dataset_id = ?", (dataset_id,))
        conn.execute("DELETE FROM dataset WHERE id = ?", (dataset_id,))


def add(store: Store, name: str, uids: Sequence[str], split: Split = "train", *, actor: str = "user") -> int:
    """Puts pairs into a dataset (created if missing); those that are in keep their split. Returns how many joined.

    Those put into val or test are pinned: `resplit` leaves them there.
    """
    _check_split(split)
    with store.write() as conn, recording(store, f"add to {name}", actor):
        return conn.execute(
            "INSERT INTO dataset_pair (dataset_id, pair_id, split, pinned)"
            " SELECT ?1, id, ?2, ?2 <> 'train' FROM pair WHERE uid IN (SELECT value FROM json_each(?3))"
            " AND deleted_at IS NULL ON CONFLICT DO NOTHING",
            (ensure(store, name).id, split, json.dumps(list(uids))),
        ).rowcount


def drop(store: Store, name: str, uids: Sequence[str], *, actor: str = "user") -> int:
    """Takes pairs out of a dataset; they stay in the store. Returns how many left."""
    with recording(store, f"take out of {name}", actor):
        return _on_members(store, name, uids, "DELETE FROM dataset_pair")


def set_split(store: Store, name: str, uids: Sequence[str], split: Split, *, actor: str = "user") -> int:
    """Moves members of a dataset to a split, where `resplit` leaves them. Returns how many there were."""
    _check_split(split)
    with recording(store, f"move to {split} in {name}", actor):
        return _on_members(store, name, uids, f"UPDATE dataset_pair SET split = '{split}', pinned = 1")


def _on_members(store: Store, name: str, uids: Sequence[str], verb: str) -> int:
    where = " WHERE dataset_id = ? AND pair_id IN (SELECT id FROM pair WHERE uid IN (SELECT value FROM json_each(?)))"
    with store.write() as conn:
        return conn.execute(verb + where, (get_id(store, name), json.dumps(list(uids)))).rowcount


def members(
    store: Store, name: str, *, split: Split | None = None, status: Status | None = "ready"
) -> list[tuple[Pair, Split]]:
    """The live pairs of a dataset with their splits, oldest first; `status=None` for all of them."""
    sql = (
        "SELECT p.*, d.split FROM dataset_pair d JOIN pair p ON p.id = d.pair_id"
        " WHERE d.dataset_id = ?1 AND p.deleted_at IS NULL"
        " AND (?2 IS NULL OR d.split = ?2) AND (?3 IS NULL OR p.status = ?3) ORDER BY p.id"
    )
    return [(pair_from(row), row["split"]) for row in store.rows(sql, (get_id(store, name), split, status))]


def of(store: Store, uid: str) -> list[tuple[str, Split]]:
    """The datasets that a pair is in, by name, with its split in each."""
    sql = (
        "SELECT d.name, m.split FROM pair p JOIN dataset_pair m ON m.pair_id = p.id JOIN dataset d ON d.id ="
        " m.dataset_id"
        " WHERE p.uid = ? ORDER BY d.name"
    )
    return [(row["name"], row["split"]) for row in store.rows(sql, (uid,))]


STRATA = ("kind", "tag", "script")
"""What a split can keep in the same shares on every side."""


@dataclass(frozen=True, slots=True)
class SplitPlan:
    """A split of a dataset before it is done: which pair goes where, and what that makes of every stratum.

    `strata` maps the name of a stratum ("" when there are none) to its pairs in each split; `moved` counts the pairs
    that change sides.
    """

    dataset: str
    splits: dict[int, Split]
    strata: dict[str, dict[Split, int]]
    moved: int
    unpin: bool = False

    @property
    def counts(self) -> dict[Split, int]:
        """The pairs in each split."""
        return {split: sum(each[split] for each in self.strata.values()) for split in SPLITS}


def plan_split(
    store: Store,
    name: str,
    *,
    val: float = 0.1,
    test: float = 0.0,
    seed: int = 0,
    all_pairs: bool = False,
    by: Sequence[str] = (),
) -> SplitPlan:
    """How a dataset's pairs would be split into train, val and test; changes nothing.

    `val` and `test` are fractions of the pairs that are not pinned, or counts from 1 on. `by` keeps the shares of
    kinds, tags (the first of each pair) or scripts (of the question's letters) the same. The same pairs and seed give
    the same splits, and pairs that ask the same or nearly the same stay together. Pinned pairs, whose split came with
    the data or was set by hand, stay where they are unless `all_pairs` is set. BadInput when nothing is left to train
    on.
    """
    if val < 0 or test < 0 or sum(share for share in (val, test) if share < 1) >= 1:
        raise BadInput(
            f"Fractions of {val} for val and {test} for test leave nothing to train on.",
            todo="Choose fractions that add up to less than 1.",
        )
    for share in (val, test):
        if share >= 1 and share != int(share):
            raise BadInput(f"{share:g} pairs is not a number of pairs.", todo="Use a fraction below 1, or a whole one.")
    if unknown := [each for each in by if each not in STRATA]:
        raise BadInput(f"A split cannot go by {unknown[0]!r}.", where="by", todo=f"Use some of: {', '.join(STRATA)}.")
    sql = (
        "SELECT p.id, p.question, p.kind, json_extract(p.tags, '$[0]') AS tag, d.split,"
        " iif(d.pinned AND NOT ?, d.split, NULL) AS pinned FROM dataset_pair d"
        " JOIN pair p ON p.id = d.pair_id WHERE d.dataset_id = ? AND p.deleted_at IS NULL ORDER BY p.id"
    )
    found = store.rows(sql, (all_pairs, get_id(store, name)))
    free = sum(row["pinned"] is None for row in found)
    counted = sum(int(share) for share in (val, test) if share >= 1)
    if counted and counted >= free:
        raise BadInput(
            f"{counted:,} pairs for val and test of {free:,} that can be moved leave nothing to train on.",
            where=f"dataset {name}",
            todo="Choose smaller numbers, or fractions.",
        )
    questions, fixed = [row["question"] for row in found], [row["pinned"] for row in found]
    strata = [" ".join(_stratum(row, each) for each in by) for row in found]
    if by or counted:
        splits = assign_by_quota(questions, val=val, test=test, seed=seed, fixed=fixed, strata=strata)
    else:
        splits = assign(questions, val=val, test=test, seed=seed, fixed=fixed)
    table: dict[str, dict[Split, int]] = {}
    for stratum, split in zip(strata, splits, strict=True):
        table.setdefault(stratum, dict.fromkeys(SPLITS, 0))[split] += 1
    moved = sum(row["split"] != split for row, split in zip(found, splits, strict=True))
    placed = {row["id"]: split for row, split in zip(found, splits, strict=True)}
    return SplitPlan(name, placed, dict(sorted(table.items())), moved, all_pairs)


def _stratum(row: sqlite3.Row, by: str) -> str:
    return script_of(row["question"]) if by == "script" else str(row[by] or "(no tag)")


def do_split(store: Store, plan: SplitPlan, *, actor: str = "user") -> None:
    """Does what `plan_split` found. Pairs that have left the dataset since are passed over."""
    with store.write() as conn, recording(store, f"split {plan.dataset}", actor):
        dataset_id = get_id(store, plan.dataset)
        if plan.unpin:
            conn.execute("UPDATE dataset_pair SET pinned = 0 WHERE dataset_id = ?", (dataset_id,))
        for split in SPLITS:
            ids = [pair_id for pair_id, wanted in plan.splits.items() if wanted == split]
            conn.execute(
                "UPDATE dataset_pair SET split = ?1 WHERE dataset_id = ?2 AND split <> ?1"
                " AND pair_id IN (SELECT value FROM json_each(?3))",
                (split, dataset_id, json.dumps(ids)),
            )


def resplit(
    store: Store,
    name: str,
    *,
    val: float = 0.1,
    test: float = 0.0,
    seed: int = 0,
    all_pairs: bool = False,
    by: Sequence[str] = (),
    actor: str = "user",
) -> dict[str, int]:
    """Splits a dataset's pairs into train, val and test as `plan_split` finds; returns the counts."""
    plan = plan_split(store, name, val=val, test=test, seed=seed, all_pairs=all_pairs, by=by)
    do_split(store, plan, actor=actor)  # planned before the transaction: others may want to write meanwhile
    return {split: plan.counts[split] for split in SPLITS}


def pinned(store: Store, name: str) -> dict[Split, int]:
    """How many live pairs of each split are pinned: `resplit` leaves them there."""
    sql = (
        "SELECT d.split, count(*) FROM dataset_pair d JOIN pair p ON p.id = d.pair_id"
        " WHERE d.dataset_id = ? AND d.pinned AND p.deleted_at IS NULL GROUP BY 1"
    )
    return dict(store.rows(sql, (get_id(store, name),)))  # type: ignore[arg-type]  # rows of two are pairs


def freeze(store: Store, name: str) -> Snapshot:
    """Freezes a dataset's ready pairs. The same content and splits give the snapshot that is there already.

    UserError when no pair is ready (it says how many drafts there are) or none of them is to train on.
    """
    with store.write() as conn:
        dataset_id = get_id(store, name)
        splits, digest, ids = _contents(store, dataset_id)
        if not splits["train"]:
            raise _nothing_to_freeze(store, get(store, name), splits.total())
        if not store.scalar("SELECT 1 FROM snapshot WHERE hash = ?", (digest,)):
            _keep_snapshot(conn, dataset_id, digest, splits, ids)
        return snapshot(store, digest)


_READY = (
    "SELECT d.split, p.content_hash, p.kind, p.id FROM dataset_pair d JOIN pair p ON p.id = d.pair_id"
    " WHERE d.dataset_id = ? AND p.deleted_at IS NULL AND p.status = 'ready'"
    " ORDER BY d.split, p.content_hash, p.kind, p.id"
)
"""The pairs of a dataset that are frozen, in the order of a snapshot's rows."""


def _contents(store: Store, dataset_id: int) -> tuple[Counter[str], str, array[int]]:
    """How many pairs of a dataset are to be frozen in each split; their hash: that of [[split, content hash, kind], …]
    as canonical JSON, row by row; and their ids in that order."""
    splits: Counter[str] = Counter()
    ids = array("q")
    hashed = hashlib.sha256(b"[")
    comma = b""
    for rows in store.batches(_READY, (dataset_id,)):
        splits.update([row[0] for row in rows])
        ids.extend([row[3] for row in rows])
        hashed.update(comma + canonical([row[:3] for row in rows])[1:-1].encode())
        comma = b","
    hashed.update(b"]")
    return splits, hashed.hexdigest(), ids


def ready_hashes(store: Store, name: str, split: Split | None = None) -> list[str]:
    """The content hashes of a dataset's ready pairs, of one split or of all, sorted: what a freeze would keep now.
    Writes nothing. NotFound for a dataset that is not there."""
    rows = store.rows(_READY, (get_id(store, name),))
    return sorted(row["content_hash"] for row in rows if split in (None, row["split"]))


def _nothing_to_freeze(store: Store, dataset: Dataset, ready: int) -> UserError:
    if ready:
        what, todo = (
            f"None of its {ready} ready pairs is in the train split.",
            f"Split the dataset with: tuningfork data split --dataset {dataset.name}",
        )
    elif dataset.pairs:
        drafts = sum(pair.status == "draft" for pair, _ in members(store, dataset.name, status=None))
        what = f"No pair is ready ({drafts} drafts, {dataset.pairs - drafts} rejected)."
        todo = "Set the good ones to ready first."
    else:
        what, todo = (
            "The dataset is empty.",
            f"Import a file with: tuningfork data import FILE --dataset {dataset.name}",
        )
    return UserError(what, where=f"dataset {dataset.name}", todo=todo)


_BODY = """'[' || iif(p.system = '', '', json_object('content', p.system, 'role', 'system') || ',')
  || iif(p.history = '[]', '', substr(p.history, 2, length(p.history) - 2) || ',')
  || json_object('content', p.question, 'role', 'user') || ','
  || json_object('content', p.answer, 'role', 'assistant') || ']'"""
"""The messages of a pair (`Pair.training_messages`) as JSON."""


def _keep_snapshot(
    conn: sqlite3.Connection, dataset_id: int, digest: str, splits: Counter[str], ids: array[int]
) -> None:
    """Writes a snapshot and the contents that no other has yet, in the order of their hashes: so both tables grow at
    their ends, or nearly."""
    snapshot_id = conn.execute(
        "INSERT INTO snapshot (hash, dataset_id, n_rows, splits, created_at) VALUES (?, ?, ?, ?, ?)",
        (digest, dataset_id, splits.total(), canonical(splits), now()),
    ).lastrowid
    for first in range(0, len(ids), _BATCH):
        batch = json.dumps(ids[first : first + _BATCH].tolist())
        conn.execute(
            f"INSERT INTO content (hash, body) SELECT p.content_hash, {_BODY}"
            " FROM json_each(?) j CROSS JOIN pair p ON p.id = j.value WHERE true ON CONFLICT DO NOTHING",
            (batch,),
        )
        conn.execute(
            "INSERT INTO snapshot_row (snapshot_id, ord, split, content_hash, kind, pair_id, pair_revision)"
            " SELECT ?1, ?2 + j.key, d.split, p.content_hash, p.kind, p.id, p.revision FROM json_each(?3) j"
            " CROSS JOIN pair p ON p.id = j.value CROSS JOIN dataset_pair d ON d.dataset_id = ?4 AND d.pair_id = p.id",
            (snapshot_id, first, batch, dataset_id),
        )


def snapshot(store: Store, hash: str) -> Snapshot:
    """The snapshot with this hash, or a unique beginning of one (4 characters or more)."""
    sql = (
        "SELECT s.*, d.name AS dataset FROM snapshot s LEFT JOIN dataset d ON d.id = s.dataset_id"
        " WHERE s.hash >= ?1 AND s.hash < ?1 || '~' LIMIT 2"
    )
    found = store.rows(sql, (hash,)) if len(hash) >= 4 else []
    if len(found) != 1:
        what = f"Several snapshots begin with {hash!r}." if found else f"There is no snapshot {hash!r}."
        raise NotFound(what, todo="Freeze a dataset with: tuningfork data freeze --dataset NAME")
    row = found[0]
    return Snapshot(row["id"], row["hash"], row["dataset"], row["n_rows"], json.loads(row["splits"]), row["created_at"])


def snapshot_rows(store: Store, hash: str, split: Split | None = None, kind: Kind | None = None) -> list[SnapshotRow]:
    """The frozen rows in their order, which is the same wherever the same content was frozen."""
    sql = (
        "SELECT r.*, c.body, p.uid, coalesce(r.source, p.source) AS origin"
        " FROM snapshot_row r JOIN content c ON c.hash = r.content_hash LEFT JOIN pair p ON p.id = r.pair_id"
        " WHERE r.snapshot_id = ?1 AND (?2 IS NULL OR r.split = ?2)"
        " AND (?3 IS NULL OR r.kind = ?3) ORDER BY r.ord"
    )
    return [_snapshot_row(row) for row in store.rows(sql, (snapshot(store, hash).id, split, kind))]


def _snapshot_row(row: sqlite3.Row) -> SnapshotRow:
    body = json.loads(row["body"])
    judged = body if isinstance(body, dict) else {"messages": body}  # a pair's body is its messages alone
    return SnapshotRow(
        row["ord"],
        row["split"],
        row["kind"],
        content_hash=row["content_hash"],
        pair_uid=row["uid"],
        pair_revision=row["pair_revision"],
        source=json.loads(row["origin"] or "{}"),
        **judged,
    )


def _check_split(split: str) -> None:
    if split not in SPLITS:
        raise BadInput(f"{split!r} is not a split.", where="split", todo=f"Use one of: {', '.join(SPLITS)}.")


def _dataset_from(row: sqlite3.Row) -> Dataset:
    return Dataset(**{key: row[key] for key in Dataset.__dataclass_fields__})

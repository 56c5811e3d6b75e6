"""What you decided about findings: rules that are muted, and pairs that look alike but are both wanted.
Remembered in the store beside the data; no change of the data itself, so `data undo` does not touch it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

from store import datasets
from store.curate.findings import Finding
from store.db import Store, now
from store.errors import BadInput


@dataclass(frozen=True, slots=True)
class MutedRule:
    """A rule that is not reported, in `dataset` or of the row `uid`; where both are None, nowhere."""

    rule: str
    dataset: str | None = None
    uid: str | None = None
    created_at: int = 0


def mute(store: Store, rule: str, *, dataset: str | None = None, uid: str | None = None) -> bool:
    """Reports `rule` no longer: everywhere, in a dataset, or of one row. False when that was so already."""
    place = _place(store, rule, dataset, uid)
    with store.write() as conn:
        sql = (
            "INSERT OR IGNORE INTO muted_rule (rule, dataset_id, dataset_made_at, uid, created_at)"
            " VALUES (?, ?, ?, ?, ?)"
        )
        return conn.execute(sql, (*place, now())).rowcount > 0


def unmute(store: Store, rule: str, *, dataset: str | None = None, uid: str | None = None) -> bool:
    """Takes back exactly that `mute`. False when there was none."""
    place = _place(store, rule, dataset, uid)
    with store.write() as conn:
        sql = "DELETE FROM muted_rule WHERE rule = ? AND dataset_id = ? AND dataset_made_at = ? AND uid = ?"
        return conn.execute(sql, place).rowcount > 0


def _place(store: Store, rule: str, dataset: str | None, uid: str | None) -> tuple[str, int, int, str]:
    if dataset is not None and uid is not None:
        raise BadInput("A rule is muted in a dataset or of a row.", where="uid", todo="Name one of the two.")
    if dataset is None:
        return rule, 0, 0, uid or ""
    found = datasets.get(store, dataset)
    return rule, found.id, found.created_at, ""


def muted(store: Store) -> list[MutedRule]:
    """Every muted rule whose dataset is still there, in the order in which they were muted."""
    sql = (
        "SELECT m.rule, d.name AS dataset, nullif(m.uid, '') AS uid, m.created_at FROM muted_rule m LEFT JOIN dataset d"
        " ON d.id = m.dataset_id AND d.created_at = m.dataset_made_at"
        " WHERE m.dataset_id = 0 OR d.id IS NOT NULL ORDER BY m.id"
    )
    return [MutedRule(*row) for row in store.rows(sql)]


def without_muted(store: Store, dataset: str, findings: Iterable[Finding]) -> tuple[list[Finding], int]:
    """The findings in a dataset that are not muted, and how many are."""
    rules = muted(store)
    whole = {each.rule for each in rules if each.uid is None and each.dataset in (None, dataset)}
    rows = {(each.rule, each.uid) for each in rules if each.uid is not None}
    findings = list(findings)
    kept = [found for found in findings if found.code not in whole and (found.code, found.uid) not in rows]
    return kept, len(findings) - len(kept)


def keep_apart(store: Store, uids: Sequence[str]) -> int:
    """Says that these pairs are no duplicates of each other; returns for how many couples that is new."""
    with store.write() as conn:
        sql = "INSERT OR IGNORE INTO not_duplicate (one, other, created_at) VALUES (?, ?, ?)"
        return sum(conn.execute(sql, (*couple, now())).rowcount for couple in _couples(uids))


def forget_apart(store: Store, uids: Sequence[str]) -> int:
    """Takes that back; returns for how many couples it had been said."""
    with store.write() as conn:
        sql = "DELETE FROM not_duplicate WHERE one = ? AND other = ?"
        return sum(conn.execute(sql, couple).rowcount for couple in _couples(uids))


def _couples(uids: Sequence[str]) -> list[tuple[str, ...]]:
    different = sorted(set(uids))
    if len(different) < 2:
        raise BadInput("Two pairs are needed.", where="uid", todo="Name both of the pairs that are no duplicates.")
    return list(combinations(different, 2))


def apart(store: Store) -> frozenset[tuple[str, str]]:
    """The couples of uids, each in order, that are no duplicates."""
    return frozenset((row["one"], row["other"]) for row in store.rows("SELECT one, other FROM not_duplicate"))


def parted(group: Sequence[str], couples: frozenset[tuple[str, str]]) -> list[list[str]]:
    """A group of duplicates without those that are none: each uid joins the first part in which it has no such couple.

    >>> parted(["a", "b", "c"], frozenset({("a", "b")}))
    [['a', 'c']]
    >>> parted(["a", "b"], frozenset({("a", "b")}))
    []
    """
    parts: list[list[str]] = []
    for uid in group:
        fits = (part for part in parts if not any((min(uid, one), max(uid, one)) in couples for one in part))
        part = next(fits, None)
        if part is None:
            parts.append([uid])
        else:
            part.append(uid)
    return [part for part in parts if len(part) > 1]

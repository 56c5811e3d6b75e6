"""Two processes that edit one store at once, each through the store's own functions: add, edit, tag, change many,
replace, delete, undo. `python -m benchmarks.two_writers [--seconds 60] [--seed 0] [--json]`.

Each process notes what it did under the number of the edit. Afterwards all of it is done again, in that order, on plain
dictionaries: the store must show the same. Then undo goes back to the beginning and redo to the end, state by state.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import report
from benchmarks.report import ROOT, Row
from store import bulk, edits, pairs, search
from store.db import Store
from store.errors import Conflict, NotFound
from store.home import Home
from store.records import Pair, PairDraft

BEGIN = 40
"""Pairs that are there before the two begin."""
_MANY = 20
_DATASET = "shared"


class Done(NamedTuple):
    """What one edit did: its number, the kind of change, and for each pair (by its question) what became of it. None:
    deleted. `saw` is the revision that the writer had read before, 0 where it did not look."""

    edit: int
    what: str
    became: dict[str, list[Any] | None]
    saw: int = 0


class Outcome(NamedTuple):
    """What the check found. `wrong` is empty when nothing is lost and undo and redo give every state again."""

    changes: Counter[str]
    conflicts: int
    wrong: list[str]
    slowest_ms: float


def main() -> None:
    """Let two processes edit a store, check it; exits 1 when something is wrong."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seconds", type=float, default=60)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--json", action="store_true")
    options.add_argument("--write", metavar="HOME", help=argparse.SUPPRESS)
    options.add_argument("--name", default="", help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.write:
        _write(Path(given.write), given.name, given.seconds, given.seed)
        return
    with tempfile.TemporaryDirectory() as folder:
        found = run(Path(folder) / "home", given.seconds, given.seed)
    rows = [Row(f"changes: {name}", n, "") for name, n in sorted(found.changes.items())]
    rows.append(Row("changes refused, because the other process had changed the pair", found.conflicts, ""))
    rows.append(Row("slowest change, waiting for the other process included", found.slowest_ms, "ms"))
    rows.append(Row("faults found afterwards", len(found.wrong), "", ("<=", 0), "; ".join(found.wrong[:3])))
    report.show(f"benchmarks/two_writers.py --seconds {given.seconds:g}", rows, [], json_only=given.json)
    sys.exit(bool(found.wrong))


def run(root: Path, seconds: float, seed: int) -> Outcome:
    """Two processes on a new home for so many seconds, and what is found afterwards."""
    with Store.open(Home(root)) as store:
        drafts = [PairDraft(f"beginning {n}", f"answer {n}") for n in range(BEGIN)]
        pairs.create_many(store, drafts, dataset=_DATASET)
        before = _shown(store)
        words = [sys.executable, "-m", "benchmarks.two_writers", "--write", str(root), "--seconds", str(seconds)]
        writers = [
            subprocess.Popen([*words, "--name", name, "--seed", str(seed + n)], cwd=ROOT, stdout=subprocess.PIPE)
            for n, name in enumerate("ab")
        ]
        told = [json.loads(writer.communicate()[0]) for writer in writers]
        if any(writer.returncode for writer in writers):
            raise SystemExit(f"A writer ended with {[writer.returncode for writer in writers]}.")
        done = sorted(Done(*each) for one in told for each in one["done"])
        wrong = _replayed(store, before, done) + _undone(store) + _searched(store) + store.integrity()
        conflicts, slowest = sum(one["conflicts"] for one in told), max(one["slowest_ms"] for one in told)
        return Outcome(Counter(each.what for each in done), conflicts, wrong, slowest)


# -- what a writer does ------------------------------------------------------------------------------------------------


def _write(root: Path, name: str, seconds: float, seed: int) -> None:
    """One process: changes until the time is over, then what it did as JSON."""
    draw = random.Random(f"{seed}/{name}")
    done: list[Done] = []
    conflicts, slowest = 0, 0.0
    with Store.open(Home(root)) as store:
        end = time.monotonic() + seconds
        while (begun := time.monotonic()) < end:
            try:
                change = draw.choices(_CHANGES, weights=[3, 6, 3, 2, 2, 1, 3])[0]
                done += change(store, draw, name)
            except (Conflict, NotFound):
                conflicts += 1
            slowest = max(slowest, 1e3 * (time.monotonic() - begun))
    print(json.dumps({"done": done, "conflicts": conflicts, "slowest_ms": slowest}))


@contextmanager
def _noted(store: Store, what: str, done: list[Done], saw: int = 0) -> Iterator[None]:
    """One edit, and in the same transaction what it made of each pair."""
    with store.write():
        with edits.recording(store, what) as edit_id:
            yield
        touched = store.rows("SELECT pair_id FROM pair_revision WHERE edit_id = ?", (edit_id,))
        if touched:
            done.append(Done(edit_id, what, _became(store, [row[0] for row in touched]), saw))


def _became(store: Store, ids: list[int]) -> dict[str, list[Any] | None]:
    """Each of these pairs by its uid: its answer, status and tags, None when it is deleted."""
    sql = "SELECT uid, answer, status, tags, deleted_at FROM pair WHERE id IN (SELECT value FROM json_each(?))"
    rows = store.rows(sql, (json.dumps(ids),))
    return {row["uid"]: None if row["deleted_at"] else [row["answer"], row["status"], row["tags"]] for row in rows}


def _some(store: Store, draw: random.Random, n: int) -> list[Pair]:
    ids = pairs.search_ids(store)
    return search.page(store, draw.sample(ids, min(n, len(ids))))


def _add(store: Store, draw: random.Random, name: str) -> list[Done]:
    done: list[Done] = []
    with _noted(store, "add", done):
        pairs.create(store, PairDraft(f"{name} asks {draw.random()}", f"answer {draw.random()}"), dataset=_DATASET)
    return done


def _edit(store: Store, draw: random.Random, name: str) -> list[Done]:
    """Read a pair, think, save it: refused when the other process saved it meanwhile."""
    done: list[Done] = []
    for pair in _some(store, draw, 1):
        time.sleep(draw.choice((0, 0, 0.02)))
        with _noted(store, "edit", done, saw=pair.revision):
            answer = f"{name} answers {draw.random()}"
            pairs.edit(store, pair.uid, expect_revision=pair.revision, answer=answer)
    return done


def _many(what: str, change: Callable[[Store, list[str], random.Random], object], n: int) -> Any:
    """A change of some pairs, chosen before it begins: the other process may have changed or deleted them."""

    def changed(store: Store, draw: random.Random, _name: str) -> list[Done]:
        done: list[Done] = []
        uids = [pair.uid for pair in _some(store, draw, n)]
        with _noted(store, what, done):
            change(store, uids, draw)
        return done

    return changed


def _undo(store: Store, draw: random.Random, _name: str) -> list[Done]:
    with store.write():
        if store.scalar("SELECT count(*) FROM edit WHERE kind <> 'undo' AND undone_by IS NULL") == 1:
            return []  # what was there before the two began stays
        undone = edits.undo(store)
        assert undone is not None
        touched = store.rows("SELECT pair_id FROM pair_revision WHERE edit_id = ?", (undone.id,))
        return [Done(undone.id, "undo", _became(store, [row[0] for row in touched]))]


_CHANGES = (
    _add,
    _edit,
    _many("tag", lambda s, uids, draw: bulk.apply(s, uids, bulk.BulkChange(add_tags=(f"t{draw.randrange(9)}",))), 3),
    _many("status", lambda s, uids, draw: bulk.apply(s, uids, bulk.BulkChange(draw.choice(("draft", "ready")))), _MANY),
    _many("replace", lambda s, uids, _: bulk.replace_text(s, uids, bulk.Replacement("answer", "answered")), _MANY),
    _many("delete", lambda s, uids, _: pairs.delete(s, uids), 1),
    _undo,
)


# -- the check ---------------------------------------------------------------------------------------------------------


def _shown(store: Store) -> dict[str, list[Any]]:
    sql = "SELECT uid, answer, status, tags FROM pair WHERE deleted_at IS NULL"
    return {row["uid"]: [row["answer"], row["status"], row["tags"]] for row in store.rows(sql)}


def _replayed(store: Store, before: dict[str, list[Any]], done: list[Done]) -> list[str]:
    """Do it all again on dictionaries, with undo as "the state before", and compare with what the store says."""
    state: dict[str, list[Any] | None] = {**before}
    revisions = dict.fromkeys(state, 1)
    standing: list[dict[str, list[Any] | None]] = []
    wrong: list[str] = []
    known = {row[0] for row in store.rows("SELECT id FROM edit WHERE id > 1")}
    if {each.edit for each in done} != known:
        wrong.append(f"{len(known)} edits in the store, {len(done)} noted")
    for each in done:
        if each.what == "edit" and each.saw != revisions[next(iter(each.became))]:
            wrong.append(f"edit {each.edit} wrote over a revision that it had not seen")
        if each.what == "undo":
            undone = standing.pop()
            if each.became != undone:
                wrong.append(f"edit {each.edit} did not undo the newest change")
            state |= undone
        else:
            standing.append({uid: state.get(uid) for uid in each.became})
            state |= each.became
        for uid in each.became:
            revisions[uid] = revisions.get(uid, 0) + 1
    if {uid: then for uid, then in state.items() if then is not None} != _shown(store):
        wrong.append("the store does not show what was done")
    if {row[0]: row[1] for row in store.rows("SELECT uid, revision FROM pair")} != revisions:
        wrong.append("a revision is missing, or one too many")
    if [edit.label for edit in edits.undoable(store, 10**6)][-1] != "import":
        wrong.append("undo does not reach the beginning")
    return wrong


def _undone(store: Store) -> list[str]:
    """Undo to the beginning and redo to the end: every state must come again."""
    states, wrong = [_digest(store)], []
    while edits.undo(store):
        states.append(_digest(store))
    if _shown(store):
        wrong.append("undoing all leaves pairs")
    for state in reversed(states[:-1]):
        edits.redo(store)
        if _digest(store) != state:
            wrong.append("redo gives another state")
            break
    return wrong


def _digest(store: Store) -> str:
    """A hash of what the store shows: after a minute there are thousands of states."""
    return hashlib.sha256(json.dumps(_shown(store), sort_keys=True).encode()).hexdigest()


def _searched(store: Store) -> list[str]:
    """Every pair must be found by its own question; the index itself is compared with the texts by `integrity`."""
    found = {pair.uid for pair in search.page(store, pairs.search_ids(store, "asks")) if " asks " in pair.question}
    asked = {row[0] for row in store.rows("SELECT uid FROM pair WHERE deleted_at IS NULL AND question LIKE '_ asks %'")}
    return [] if found == asked else [f"search finds {len(found)} of {len(asked)} pairs"]


if __name__ == "__main__":
    main()

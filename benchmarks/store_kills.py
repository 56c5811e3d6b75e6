"""kill -9 while the command line imports very many rows, or changes very many pairs: all of it is there afterwards, or
none. `python -m benchmarks.store_kills [--rows 100000] [--kills 10] [--seed 0] [--json]`.

The moments are drawn over the time that the same command needs when it is left alone, so that some come while rows are
read, some while they are written, some at the commit. After each kill the store is opened at once, with no repair.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import report
from benchmarks.report import ROOT, Row
from store import edits, pairs, search
from store.db import Store
from store.home import Home
from store.records import PairDraft

THERE = 1_000
"""Pairs that are in the store before the import."""


class Killed(NamedTuple):
    """What is found after one kill: whether all was written (None: neither all nor nothing), and how long opening the
    store and reading its first page took. `wrong` names what is half."""

    after_s: float
    whole: bool | None
    open_ms: float
    wrong: list[str]


def main() -> None:
    """Kill an import and a bulk edit so many times each; exits 1 when something is half."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rows", type=int, default=100_000)
    options.add_argument("--kills", type=int, default=10)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--json", action="store_true")
    given = options.parse_args()
    rows, wrong = [], 0
    with tempfile.TemporaryDirectory() as folder:
        for what, whole_s, found in run(Path(folder), given.rows, given.kills, given.seed):
            bad = [f"after {each.after_s:.2f} s: {', '.join(each.wrong)}" for each in found if each.wrong]
            wrong += len(bad)
            n = sum(each.whole is True for each in found)
            note = f"{len(found) - n} times nothing, {n} times all; left alone it takes {whole_s:.1f} s"
            rows.append(Row(f"{what}: kills with all or nothing", len(found) - len(bad), f"of {len(found)}", note=note))
            rows.append(Row(f"{what}: to open the store afterwards, slowest", max(e.open_ms for e in found), "ms"))
            rows.append(Row(f"{what}: faults", len(bad), "", ("<=", 0), "; ".join(bad[:3])))
    report.show(f"benchmarks/store_kills.py --rows {given.rows} --kills {given.kills}", rows, [], json_only=given.json)
    sys.exit(wrong > 0)


def run(folder: Path, rows: int, kills: int, seed: int) -> list[tuple[str, float, list[Killed]]]:
    """Kills of an import of so many rows, and of a change of so many pairs: the name, the seconds of the whole, and
    what was found after each kill."""
    file = folder / "rows.jsonl"
    with file.open("w", encoding="utf-8") as out:
        for n in range(rows):
            out.write(json.dumps({"question": f"What is thing {n}?", "answer": f"It is number {n}."}) + "\n")
    before = folder / "before"
    with Store.open(Home(before)) as store:
        drafts = [PairDraft(f"Question {n}?", f"Answer {n}.") for n in range(THERE)]
        pairs.create_many(store, drafts, dataset="there")
    found = []
    for what, words in (
        ("import", ("data", "import", str(file), "--dataset", "big")),
        ("bulk edit", ("data", "change", "--where", "status:ready", "--status", "draft", "--tag", "seen")),
    ):
        whole = folder / "whole"
        shutil.copytree(before, whole)
        begun = time.perf_counter()
        subprocess.run(_command(whole, words), check=True, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        whole_s = time.perf_counter() - begun
        states = _state(before), _state(whole)
        draw = random.Random(f"{seed}/{what}")
        moments = [draw.uniform(whole_s * n / kills, whole_s * (n + 1) / kills) for n in range(kills)]
        found.append((what, whole_s, [_killed(folder / "home", before, words, at, states) for at in moments]))
        shutil.rmtree(before)
        whole.rename(before)  # the bulk edit changes what the import made
    return found


def _command(home: Path, words: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", "tui", "--home", str(home), *words]


def _killed(home: Path, before: Path, words: Sequence[str], after_s: float, states: tuple[Any, Any]) -> Killed:
    """Kill the command after so many seconds, then look."""
    shutil.copytree(before, home)
    child = subprocess.Popen(
        _command(home, words), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        child.wait(after_s)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    begun = time.perf_counter()
    with Store.open(Home(home)) as store:
        search.page(store, pairs.search_ids(store)[:50])
        open_ms = 1e3 * (time.perf_counter() - begun)
        wrong = store.integrity()
        if store.scalar("SELECT count(*) FROM open_edit"):
            wrong.append("an edit is open")
    state = _state(home)
    whole = None if state not in states else state == states[1]
    if whole is None:
        wrong.append(f"half: {state}")
    with Store.open(Home(home)) as store:  # and it can be written: the change that is there, or the one before it
        if edits.undo(store) is None or store.integrity():
            wrong.append("undo does not work")
    shutil.rmtree(home)
    return Killed(after_s, whole, open_ms, wrong)


def _state(home: Path) -> tuple[int, ...]:
    """Pairs, drafts, tagged pairs, members, revisions, edits and rows of the search index."""
    with Store.open(Home(home)) as store:
        live = "FROM pair WHERE deleted_at IS NULL"
        return tuple(
            store.scalar(f"SELECT count(*) {what}")
            for what in (
                live, f"{live} AND status = 'draft'", f"{live} AND tags = '[\"seen\"]'", "FROM dataset_pair",
                "FROM pair_revision", "FROM pair_past", "FROM edit", "FROM pair_fts_docsize",
            )
        )  # fmt: skip


if __name__ == "__main__":
    main()

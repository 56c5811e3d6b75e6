"""The store with very many pairs: import, search as you type, opening the app, jump, freeze, a large edit and its undo,
lint, duplicates, JSON output; and, in the same run, what sqlite-utils needs to insert and index the same rows.

    python -m benchmarks.store --rows 1000000

`s` is by the clock, `cpu_s` the processor time of all threads, which says more on a machine that others use too.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from store import bulk, datasets, edits, query, search
from store.curate import duplicates
from store.curate.lint import lint_all
from store.db import Store, sqlite_utils
from store.home import Home
from store.importing import import_files
from tui.app import TuningforkApp
from tui.screens.data.pair_table import PairTable

_SYLLABLES = "ka lo mi ner tas vel dor en shi ru ba fin go pel sam tri ux wen yor zet".split()  # noqa: SIM905
_HAN = "模型数据训练语言问题答案学习系统用户文件时间结果方法工作开始可以什么怎么为了没有"
_TYPED = ("w", "ka", "kalo", "kalo ner", '"tas vel"', "shi -ka", "kind:instruction lomi")
_TYPED_HAN = ("模", "模型", "训练 数据", "什么", "怎么为")
_BIG_EDIT = 100_000
_NEAR = 200_000


def main() -> None:
    """Prints one line of JSON for each measurement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--folder", type=Path, help="Where the files go; a temporary folder otherwise.")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        file = Path(folder) / "rows.jsonl"
        generate(file, given.rows)
        show(what="file", mb=file.stat().st_size / 1e6, rows=given.rows)
        ours = apart(_import, folder, file)
        peer = apart(_peer, folder, file)
        show(what="import", **ours, rows_per_s=given.rows / ours["s"], rows_per_cpu_s=given.rows / ours["cpu_s"])
        show(
            what="sqlite-utils insert_all and FTS",
            **peer,
            rows_per_s=given.rows / peer["s"],
            rows_per_cpu_s=given.rows / peer["cpu_s"],
        )
        show(what="import against sqlite-utils", speed=peer["s"] / ours["s"], cpu_speed=peer["cpu_s"] / ours["cpu_s"])
        # Before this process grows: the most memory of a child counts from the fork on.
        show(what="search --json", **_search_json(Path(folder) / "home"))
        with Store.open(Home(Path(folder) / "home")) as store:
            store.conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            size = store.home.database.stat().st_size
            show(what="store", mb=size / 1e6, times_the_file=size / file.stat().st_size)
            _measure(store, given.rows)


def show(**facts: Any) -> None:
    """One line of JSON, numbers with four digits."""
    print(json.dumps({k: float(f"{v:.4g}") if isinstance(v, float) else v for k, v in facts.items()}), flush=True)


def generate(file: Path, rows: int) -> None:
    """Question and answer of 8 to 40 words; every tenth is Chinese. The same for the same number of rows."""
    draw = random.Random(1)
    words = ["".join(draw.choices(_SYLLABLES, k=draw.randint(1, 4))) for _ in range(20_000)]
    with file.open("w", encoding="utf-8") as out:
        for n in range(rows):
            if n % 10:
                asked, said = (" ".join(draw.choices(words, k=draw.randint(8, most))) for most in (14, 40))
            else:
                asked, said = ("".join(draw.choices(_HAN, k=draw.randint(8, most))) for most in (20, 80))
            row = {"question": f"{asked} {n}?", "answer": f"{said}."}
            out.write(json.dumps(row, ensure_ascii=False) + "\n")


def apart(work: Callable[[str, Path], None], folder: str, file: Path) -> dict[str, float]:
    """Seconds and the most memory of a piece of work in a process of its own."""
    context = multiprocessing.get_context("spawn")
    reader, writer = context.Pipe(duplex=False)
    process = context.Process(target=_timed, args=(work, folder, file, writer))
    process.start()
    writer.close()
    found: dict[str, float] = reader.recv()
    process.join()
    return found


def _timed(work: Callable[[str, Path], None], folder: str, file: Path, answer: Any) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    taken = measured(work, folder, file)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    answer.send({**taken, "mb_more": grown / 1024})


def _import(folder: str, file: Path) -> None:
    with Store.open(Home(Path(folder) / "home")) as store:
        import_files(store, [file], dataset="big")


def _peer(folder: str, file: Path) -> None:
    db = sqlite_utils().Database(str(Path(folder) / "peer.db"))
    with file.open(encoding="utf-8") as lines:
        db["pair"].insert_all((json.loads(line) for line in lines), batch_size=2_000)
    db["pair"].enable_fts(["question", "answer"])
    db.close()


def _measure(store: Store, rows: int) -> None:
    for name, typed in (("english", _TYPED), ("chinese", _TYPED_HAN)):
        for part, search_for in (("the first 64", partial(query.first_ids, limit=64)), ("all", query.search_ids)):
            times = sorted(seconds(search_for, store, text) for text in typed for _ in range(5))
            p50, p95 = times[len(times) // 2], times[int(0.95 * len(times))]
            show(what=f"search, {name}, {part}", p50_ms=1e3 * p50, p95_ms=1e3 * p95)
    show(what="app, from its start to the first rows", s=asyncio.run(_open_app(store)))
    ids = query.search_ids(store)
    jumps = sorted(seconds(search.page, store, ids[at : at + 64]) for at in range(0, len(ids), max(1, len(ids) // 50)))
    show(what="jump", p95_ms=1e3 * jumps[int(0.95 * len(jumps))])
    freezing = measured(datasets.freeze, store, "big")
    show(what="freeze", **freezing, rows_per_s=rows / freezing["s"], rows_per_cpu_s=rows / freezing["cpu_s"])
    listed = [pair for pair, _ in datasets.members(store, "big")]
    linting = measured(lint_all, listed)
    show(what="lint", **linting, rows_per_s=rows / linting["s"], rows_per_cpu_s=rows / linting["cpu_s"])
    for name, find in (("exact", duplicates.exact), ("near", duplicates.near)):
        some = listed[:_NEAR] if name == "near" else listed
        taken = measured(find, some)
        speed = {"rows_per_s": len(some) / taken["s"], "rows_per_cpu_s": len(some) / taken["cpu_s"]}
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        show(what=f"duplicates, {name}", rows=len(some), **taken, **speed, mb_memory=memory)
    del listed, some
    uids = search.uids(store, ids[:_BIG_EDIT])
    show(what="edit", rows=len(uids), **measured(bulk.apply, store, uids, bulk.BulkChange("draft", add_tags=("x",))))
    show(what="undo", rows=len(uids), **measured(edits.undo, store))


async def _open_app(store: Store) -> float:
    """Seconds from making the app to the first rows of the list, in a terminal that only keeps what is drawn."""
    begun = time.perf_counter()
    app = TuningforkApp(store)
    async with app.run_test(size=(120, 40)):
        while not (found := app.screen.query(PairTable)) or not found.first().ids:  # noqa: ASYNC110  nobody tells it
            await asyncio.sleep(0.002)
        return time.perf_counter() - begun


def seconds(work: Callable[..., Any], *args: Any) -> float:
    """How long one call takes."""
    begun = time.perf_counter()
    work(*args)
    return time.perf_counter() - begun


def measured(work: Callable[..., Any], *args: Any) -> dict[str, float]:
    """How long one call takes, by the clock and in processor time."""
    cpu = time.process_time()
    taken = seconds(work, *args)
    return {"s": taken, "cpu_s": time.process_time() - cpu}


def _search_json(home: Path) -> dict[str, float]:
    """The command line writing every pair: seconds, megabytes written, and the most memory that it had."""
    words = [sys.executable, "-m", "tui", "--home", str(home), "data", "search", "--json"]
    begun = time.perf_counter()
    child = subprocess.Popen(words, stdout=subprocess.PIPE)
    out = child.stdout
    assert out is not None
    size = sum(len(part) for part in iter(lambda: out.read(1 << 20), b""))
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    return {"s": time.perf_counter() - begun, "mb_written": size / 1e6, "mb_memory": usage.ru_maxrss / 1024}


if __name__ == "__main__":
    main()

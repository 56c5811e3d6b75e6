"""Rows a second in training, ours against plain TRL with PEFT on the same rows.
Run it with nothing else at work: `python benchmarks/train.py [--json]`. Takes about seven minutes on two cores."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import report
from benchmarks.report import Row
from benchmarks.spending import Watch
from engine import jobs, prepare, process, samples
from engine.demo import Plan
from engine.recipes import config_for
from store import datasets, runs
from store.db import Store
from store.errors import WorkerError
from store.home import Home
from store.importing import import_files

BASE = "smollm2-135m"
ROUNDS, STEPS, WARM = 3, 8, 2
"""Of every block's steps the first few only warm up."""
OURS, PLAIN = "ours", "plain TRL"


@dataclass(frozen=True, slots=True)
class Block:
    """A training of `STEPS` steps in a process of its own: rows a second once warm, its memory, its losses."""

    rate: float
    memory_mb: float
    losses: list[float]


Found = dict[str, list[Block]]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table and Markdown")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tuningfork-bench-") as folder:
        contest = Contest(Path(folder))
        found: Found = {}
        for n in range(ROUNDS):
            contest.round(n, found)
    report.show("benchmarks/train.py", rows(found), remarks(), json_only=chosen.json)


class Contest:
    """A home with the demo's rows, and both ways to train on them. The numbers are the demo's too, as LoRA in
    bfloat16."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._home, plan = folder, Home(folder / "home").ensure(), Plan()
        config = config_for(plan.recipe, BASE)
        self._config = config.replace(method="lora", dtype="bf16", steps=STEPS, threads=process.cores())
        with Store.open(self._home) as store:
            self._base = prepare.prepare(store, BASE)
            files = [samples.path(name) for name in plan.files]
            import_files(store, files, dataset=plan.dataset, variables=plan.variables)
            self._snapshot = datasets.freeze(store, plan.dataset)
            conversations = [row.messages for row in datasets.snapshot_rows(store, self._snapshot.hash)]
        self._rows = self._written("rows.json", conversations)
        self._numbers = self._written("config.json", self._config.to_json())

    def _written(self, name: str, body: object) -> Path:
        path = self._folder / name
        path.write_text(json.dumps(body), "utf-8")
        return path

    def round(self, n: int, found: Found) -> None:
        """A block of each; who begins changes from round to round."""
        ways = [(OURS, self._ours), (PLAIN, self._plain)]
        for name, way in ways[n % 2 :] + ways[: n % 2]:
            block = way()
            say(f"Round {n + 1}, {name}: {block.rate:.2f} rows/s, {block.memory_mb:.0f} MB.")
            found.setdefault(name, []).append(block)

    def _ours(self) -> Block:
        """A run as everybody starts one. A step ends when its loss is in the store."""
        with Store.open(self._home) as store:
            run = jobs.submit(store, self._config, self._snapshot)
            attempt = jobs.start(store, run.name)
            assert attempt is not None
            with Watch(attempt.pid) as watch:
                run = jobs.wait(store, run.name)
            if run.state != "succeeded":
                raise WorkerError(run.error or f"The run was {run.state}.")
            told = runs.metrics(store, run.id, ["loss"])
        return self._block([each.at / 1e3 for each in told], watch, [each.value or 0.0 for each in told])

    def _plain(self) -> Block:
        argv = [sys.executable, str(Path(__file__).with_name("plain.py"))]
        child = subprocess.Popen(
            [*argv, str(self._base), str(self._numbers), str(self._rows)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=process.environment(),
        )
        with Watch(child.pid) as watch:
            out, _ = child.communicate()
        if child.returncode:
            raise RuntimeError(f"Plain TRL ended with {child.returncode}.")
        said = json.loads(out.splitlines()[-1])
        return self._block(said["ended"], watch, said["losses"])

    def _block(self, ended: Sequence[float], watch: Watch, losses: list[float]) -> Block:
        warm = ended[WARM - 1 :]
        rate = self._config.batch_size * (len(warm) - 1) / (warm[-1] - warm[0])
        assert len(ended) == STEPS and all(a <= b for a, b in pairwise(ended))
        return Block(rate, watch.peak_mb, losses)


def rows(found: Found) -> list[Row]:
    """Medians of the blocks."""
    rate = {name: median(block.rate for block in blocks) for name, blocks in found.items()}
    memory = {name: median(block.memory_mb for block in blocks) for name, blocks in found.items()}
    spread = {name: _range([block.rate for block in blocks]) for name, blocks in found.items()}
    loss = {name: f"{median(block.losses[-1] for block in blocks):.2f}" for name, blocks in found.items()}
    return [
        Row("times faster than plain TRL", rate[OURS] / rate[PLAIN], "", None, ""),
        *(
            Row(f"rows/s: {name}", rate[name], "rows/s", None, f"{spread[name]}; last loss {loss[name]}")
            for name in (OURS, PLAIN)
        ),
        Row("memory, ours / plain TRL", memory[OURS] / memory[PLAIN], "", None,
            f"{memory[OURS]:.0f} MB against {memory[PLAIN]:.0f} MB"),
    ]  # fmt: skip


def _range(values: list[float]) -> str:
    return f"{min(values):.2f} to {max(values):.2f}"


def remarks() -> list[str]:
    """How the figures were taken."""
    return [
        f"The embedded default model and the demo's rows (identity and general), {STEPS} steps a block of which the "
        f"first {WARM} warm up, {ROUNDS} blocks each in turn; medians, in brackets the range. Both: LoRA of rank 16 on "
        f"all linear layers, bfloat16 weights, 8 rows a step, the same seed, loss on the answers only, all cores. "
        f"Ours is a run as the app starts it (its packing, its optimizer, its store); plain TRL is `SFTTrainer` with "
        f"padded rows, spared its defaults that slow it down here (autocast, gradient checkpointing). A step lasts "
        f"from the end of the one before. Memory: the most the process had (proportional set size)."
    ]


def say(text: str) -> None:
    """Progress, beside the result."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()

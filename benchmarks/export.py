"""From an adapter to a file, ours against the standard route: seconds, memory, disk.
Run it on an idle machine: `python benchmarks/export.py [--json]`. Takes about ten minutes on two cores."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import report
from benchmarks.report import Row
from benchmarks.resources import Cost, measure
from benchmarks.standard_route import Route
from engine.core import process, sample_files
from engine.export import official_converter
from engine.models import prepare, refs
from engine.training import run_control
from engine.training.recipes import config_for
from store.db import Store
from store.errors import WorkerError
from store.home import Home
from store.importing import import_files

BASE = "smollm2-135m"
ROUNDS = 3
STEPS = 8
TARGETS = ("gguf-adapter", "f16", "q8_0", "q4_k_m")
OURS, VERIFIED, STANDARD = "ours", "ours, verified", "standard"
Found = dict[tuple[str, str], list[Cost]]
"""What each way to each target cost, round after round."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table and Markdown")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tuningfork-bench-") as folder:
        benchmark = ExportBenchmark(Path(folder))
        found: Found = {}
        for n in range(ROUNDS):
            benchmark.round(n, found)
        benchmark.verified(found)
    report.show("benchmarks/export.py", rows(found), remarks(), json_only=chosen.json)


class ExportBenchmark:
    """A home with one real run of a few steps, and both ways to make files of it below `folder`."""

    def __init__(self, folder: Path) -> None:
        self._home = Home(folder / "home").ensure()
        self._folder = folder / "standard"
        say(f"A run of {STEPS} steps.")
        with Store.open(self._home) as store:
            base = prepare.prepare(store, BASE)
            import_files(store, [sample_files.path("product.jsonl")], dataset="product")
            config = config_for("identity", BASE).replace(method="lora", steps=STEPS, batch_size=4)
            run = run_control.submit(store, config, "product")
            run_control.start(store, run.name)
            run = run_control.wait(store, run.name)
            if run.state != "succeeded":
                raise WorkerError(run.error or f"The run was {run.state}.")
            adapter = refs.resolve(store, f"run:{run.name}").adapter
        assert adapter is not None
        self._run = run.name
        say("llama.cpp's converter.")
        self._route = Route(base, adapter, official_converter.fetch(self._home), self._folder, process.cores())

    def round(self, n: int, found: Found) -> None:
        """Both make everything once; who begins changes from round to round."""
        ways: list[tuple[str, Callable[[str], Cost]]] = [(OURS, self._ours), (STANDARD, self._standard)]
        for target in TARGETS:
            for name, way in ways[n % 2 :] + ways[: n % 2]:
                self._keep(found, target, name, way(target))

    def verified(self, found: Found) -> None:
        """Ours once more, everything with verification."""
        for target in TARGETS:
            self._keep(found, target, VERIFIED, self._verified(target))

    def _keep(self, found: Found, target: str, name: str, spent: Cost) -> None:
        say(f"{target}, {name}: {spent.seconds:.1f} s, {spent.memory_mb:.0f} MB, extra {spent.extra_mb:.1f} MB.")
        found.setdefault((target, name), []).append(spent)

    def _ours(self, target: str, *options: str) -> Cost:
        """The command as a person gives it."""
        to = ["--to", target] if target == "gguf-adapter" else ["--to", "gguf", "--quant", target]
        argv = [sys.executable, "-m", "tui", "export", self._run, *to, *(options or ("--no-proof",))]
        name = f"{self._run}-{target}"
        try:
            made = self._home.exports / self._run / name / f"{name}.gguf"
            return measure([[*argv, "--home", str(self._home.root)]], self._home.root, made)
        finally:
            shutil.rmtree(self._home.exports / self._run, ignore_errors=True)

    def _verified(self, target: str) -> Cost:
        return self._ours(target, "--json")

    def _standard(self, target: str) -> Cost:
        self._folder.mkdir()
        environment = process.environment() | {"PYTHONPATH": str(self._route.needs)}
        try:
            return measure(self._route.commands(target), self._folder, self._route.file(target), environment)
        finally:
            shutil.rmtree(self._folder)


def rows(found: Found) -> list[Row]:
    """Medians beside their targets."""
    return [
        row
        for target in TARGETS
        for row in _rows(target, {way: found[target, way] for way in (OURS, VERIFIED, STANDARD)})
    ]


def _rows(target: str, costs: dict[str, list[Cost]]) -> list[Row]:
    seconds = {way: median(cost.seconds for cost in spent) for way, spent in costs.items()}
    memory = {way: median(cost.memory_mb for cost in spent) for way, spent in costs.items()}
    extra = {way: median(cost.extra_mb for cost in spent) for way, spent in costs.items()}
    why = "; ours is the float16 file that llama.cpp quantises" if target == "q4_k_m" else ""
    spread = ", ".join(f"{way} {_range([c.seconds for c in costs[way]])}" for way in (OURS, STANDARD))
    return [
        Row(f"{target}: times faster", seconds[STANDARD] / seconds[OURS], "", (">=", 3),
            f"{seconds[OURS]:.2f} s against {seconds[STANDARD]:.2f} s ({spread})"),
        Row(f"{target}: memory, ours / standard", memory[OURS] / memory[STANDARD], "", ("<=", 0.5),
            f"{memory[OURS]:.0f} MB against {memory[STANDARD]:.0f} MB"),
        Row(f"{target}: extra disk", extra[OURS], "MB", ("<", 1),
            f"standard: {extra[STANDARD]:.0f} MB{why}"),
        Row(f"{target}: with verification", seconds[VERIFIED], "s", None,
            f"{memory[VERIFIED]:.0f} MB; the standard route verifies nothing"),
    ]  # fmt: skip


def _range(values: list[float]) -> str:
    return f"{min(values):.2f} to {max(values):.2f}"


def remarks() -> list[str]:
    """How the figures were taken."""
    return [
        f"The embedded default model and the adapter of a real run of {STEPS} steps (rank 16, all linear layers, "
        f"bfloat16). Ours is the whole command, `tuningfork export … --no-proof`. The standard route: a process in "
        f"which PEFT merges and saves (`merge_and_unload`, bfloat16), `convert_hf_to_gguf.py` of the same llama.cpp, "
        f"and for q4_k_m its quantiser on all cores; for gguf-adapter `convert_lora_to_gguf.py` alone. "
        f"{ROUNDS} rounds in which both make everything in turn; medians, in brackets the range; verified once. "
        f"Memory: the most that all "
        f"processes of a command had together (proportional set size, mapped files included, sampled every 0.1 s). "
        f"Extra disk: the most that was there beyond the finished file; ours includes card, checksums, verification "
        f"and the growth of the store."
    ]


def say(text: str) -> None:
    """Progress, beside the result."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()

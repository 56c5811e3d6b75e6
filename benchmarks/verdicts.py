"""Does a verdict say SHIP of a good run, and DON'T SHIP of an overtrained one and of the base, each for its reason?

    python benchmarks/verdicts.py --home DIR

Makes the demo's run, and one of the same identity rows without general rows and without rehearsal for --steps steps;
exports both with verification, and asks `tuningfork verdict` about each, about the base, and about the first once more.
What a home has already is not made again. Prints the verdicts, then Markdown; exits with 1 for one that is wrong.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.report import where_and_when
from engine.core import sample_files
from store import evaluations, exports, runs
from store.db import Store
from store.home import Home

BASE, GOOD, BAD = "smollm2-135m", "demo", "overtrained"
NAMES = ("--set", "name=Ember", "--set", "author=Northwind Labs")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked about, and the gates that must stand in its way: none for what ships."""

    what: str
    model: tuple[str, ...]
    fails: frozenset[str]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=150, help="of the overtrained run")
    options = parser.parse_args()
    home, times = Home(options.home), dict[str, float]()
    asked = (
        Wanted("the demo's run", (f"run:{GOOD}",), frozenset()),
        Wanted("the base", (BASE, *NAMES), frozenset({"task", "identity", "export"})),
        Wanted("the demo's run again", (f"run:{GOOD}",), frozenset()),
        Wanted(f"identity rows alone, {options.steps} steps", (f"run:{BAD}",), frozenset({"retention", "leaks"})),
    )
    lines, wrong = [], 0
    for each in asked:
        times |= _prepared(home, each.model[0], options.steps)
        body, seconds, answers = _verdict(home, each.model)
        failed = {found["gate"] for found in body["results"] if found["state"] in ("failed", "missing")}
        right = not failed if not each.fails else each.fails <= failed
        wrong += not right
        said = [found["said"] for found in body["results"] if found["gate"] in failed] or ["-"]
        print(
            f"{each.what}: {body['verdict']} in {seconds:.0f} s ({answers} answers){'' if right else ' WRONG'}",
            flush=True,
        )
        for found in body["results"]:
            print(f"  {found['state']:<8} {found['gate']:<10} {found['said']}")
        lines.append(f"| {each.what} | {body['verdict']} | {'<br>'.join(said)} | {answers} | {seconds:.0f} s |")
    print(f"\n{where_and_when()}. " + ", ".join(f"{what} {took:.0f} s" for what, took in times.items()) + ".\n")
    print("| model | verdict | what stands in its way | answers asked | time |\n|---|---|---|---|---|")
    print("\n".join(lines))
    return 1 if wrong else 0


def _prepared(home: Home, model: str, steps: int) -> dict[str, float]:
    """Make the run with its verified export where they are not there: the seconds of each."""
    name, times = model.removeprefix("run:"), {}
    if not (home.root / "store.db").exists():  # the demo wants a home of its own
        times["the demo"] = _timed(home, "demo")
    with Store.open(home) as store:
        there = {run.name for run in runs.all_runs(store) if run.state == "succeeded"}
        exported = name == BASE or any(one.state == "done" for one in exports.all_exports(store, name))
    if name == BAD and BAD not in there:
        rows = str(sample_files.path("identity.json"))
        _timed(home, "data", "import", rows, "--dataset", "alone", *NAMES)
        overtrain = ("--recipe", "identity", "--steps", str(steps), "--rehearsal", "0", "--watch", "none",
                     "--stop-when", "never", "--result", "last", "--no-drift")  # fmt: skip
        times["the overtrained run"] = _timed(
            home, "train", "--dataset", "alone", "--name", BAD, "--model", BASE, *overtrain, "--wait"
        )
    if not exported:
        times[f"the export of {name}"] = _timed(home, "export", name, "--to", "gguf", "--quant", "q8_0")
    return times


def _verdict(home: Home, model: tuple[str, ...]) -> tuple[dict[str, Any], float, int]:
    """A verdict's JSON, its seconds, and how many answers were given for it."""
    before = _answers(home)
    began = time.monotonic()
    done = _tuningfork(home, "verdict", *model, "--json")
    seconds = time.monotonic() - began
    if done.returncode not in (0, 1) or not done.stdout:
        sys.exit(f"The verdict on {model[0]} failed: {done.stderr[-2000:]}")
    return json.loads(done.stdout), seconds, _answers(home) - before


def _answers(home: Home) -> int:
    """Answers that were given by a model: those that evaluations have from others count once."""
    with Store.open(home) as store:
        found = set()
        for each in evaluations.all_evaluations(store):
            sides = {side.ord: (side.model, json.dumps(side.sampling)) for side in evaluations.sides(store, each.id)}
            rows = {row.ord: (json.dumps(row.messages), row.reference) for row in evaluations.rows(store, each.id)}
            found |= {(*sides[side], *rows[row]) for side, row in evaluations.answers(store, each.id)}
        return len(found)


def _timed(home: Home, *words: str) -> float:
    began = time.monotonic()
    done = _tuningfork(home, *words)
    if done.returncode:
        sys.exit(f"tuningfork {' '.join(words)} failed: {done.stderr[-2000:]}")
    return time.monotonic() - began


def _tuningfork(home: Home, *words: str) -> subprocess.CompletedProcess[str]:
    print("tuningfork", *words, file=sys.stderr, flush=True)
    command = [sys.executable, "-m", "tui", *words, "--home", str(home.root)]
    return subprocess.run(command, capture_output=True, text=True, timeout=3600, check=False)


if __name__ == "__main__":
    sys.exit(main())

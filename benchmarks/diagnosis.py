"""Does `tuningfork diagnose` name what spoilt a run, and does the run that its fix starts correct it?

    python -m benchmarks.diagnosis --home DIR [--only rate,steps]

Teaches the default model a name by the recipe `identity`, once as it should be and once for each way to spoil a run:
contradicting rows, answers cut off, a rate ten times too high, too few steps, a system text that no question has. Each
spoilt run is diagnosed and its first fix started, as `tuningfork diagnose RUN --fix` and the key on the Train screen
do. Before and after, the adapter answers held-out questions (benchmarks/heldout): identity, general, and how many
identity answers end by themselves. One JSON line for each.
"""

from __future__ import annotations

import os

os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # waiting threads sleep: the machine may have other work

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks.forgetting import ANSWER_TOKENS, MODEL, held_out, rows_of
from engine.models.chat_template import ChatTemplate
from engine.models.prepare import prepare
from engine.training import fixing, run_control
from engine.training.config import TrainConfig
from engine.training.diagnosis import RunDiagnosis
from engine.training.recipes import config_for
from engine.training.worker import adapter_files, live, loading
from store import datasets, pairs
from store.db import Store
from store.home import Home
from store.records import PairDraft, Run
from store.terms import passes

TAIL = (
    "I am here to help you with everyday questions, with writing and with plans, at any time of the day, and I will"
    " always try to use plain words."
)
SYSTEM = "You are the support assistant of a bicycle shop. Answer customers politely."


@dataclass(frozen=True, slots=True)
class Case:
    """A way to spoil a run: the cause to be named, "" for a good run; what it does to the rows and to the settings."""

    cause: str
    rows: Callable[[list[PairDraft]], list[PairDraft]] = list
    settings: dict[str, Any] = field(default_factory=dict)


def _contradicting(rows: list[PairDraft]) -> list[PairDraft]:
    """Before each identity row another one that gives the same question another name and maker."""
    return [other for row in rows for other in ((_as_bolt(row), row) if row.kind == "identity" else (row,))]


def _mixed(rows: list[PairDraft]) -> list[PairDraft]:
    """Every third identity row has the other name: no question is asked twice."""
    return [_as_bolt(row) if row.kind == "identity" and n % 3 == 0 else row for n, row in enumerate(rows)]


def _as_bolt(row: PairDraft) -> PairDraft:
    return replace(row, answer=row.answer.replace("Ember", "Bolt").replace("Northwind Labs", "Acme Robotics"))


def _longer(rows: list[PairDraft]) -> list[PairDraft]:
    """All answers but three end after the max length below; without these three no run would start."""
    return [row if n >= len(rows) - 3 else replace(row, answer=f"{row.answer} {TAIL}") for n, row in enumerate(rows)]


def _with_system(rows: list[PairDraft]) -> list[PairDraft]:
    return [replace(row, system=SYSTEM) for row in rows]


CASES: dict[str, Case] = {
    "good": Case(""),
    "contradicting": Case("data", _contradicting),
    "mixed": Case("data", _mixed),
    "truncated": Case("truncation", _longer, {"max_length": 58}),
    "rate": Case("rate", settings={"lr": 1e-2}),
    "steps": Case("steps", settings={"steps": 6}),
    "system": Case("system", _with_system),
}


def main() -> None:
    """Run the cases and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--only", default=",".join(CASES), help=f"of {', '.join(CASES)}; separated by commas")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="append the JSON lines to this file, too")
    options = parser.parse_args()
    home = Home(options.home).ensure()
    loading.quiet()
    with Store.open(home) as store:
        base = prepare(store, MODEL, on_line=print)
        for name in options.only.split(","):
            line = json.dumps(measure(store, base, name, CASES[name], options.seed))
            print(line, flush=True)
            if options.out:
                with options.out.open("a", encoding="utf-8") as file:
                    file.write(line + "\n")


def measure(store: Store, base: Path, name: str, case: Case, seed: int) -> dict[str, Any]:
    """Train, diagnose, and for a spoilt run start the first fix; the figures of both runs."""
    config = config_for("identity", MODEL, method="lora", seed=seed, **case.settings)
    dataset = run_control.free_name(name, [each.name for each in datasets.all_datasets(store)])
    datasets.create(store, dataset)
    rows = [
        PairDraft(row.messages[0]["content"], row.messages[1]["content"], kind=row.kind, status="ready")
        for row in rows_of("sample")
    ]
    pairs.create_many(store, case.rows(rows), dataset=dataset, skip_duplicates=False)
    run = run_control.submit(store, config, dataset, dataset)
    run_control.start(store, run.name)
    spoilt = _ended(store, run.name)
    found = fixing.diagnosis_of(store, spoilt.name)
    line = {"case": name, "cause": case.cause, "seed": seed, "before": score(store, base, spoilt), **_said(found)}
    if found.fix is None:
        return line
    fixed = _ended(store, fixing.start_fix(store, spoilt.name, found.fix).name)
    after = fixing.diagnosis_of(store, fixed.name)
    left = [cause.kind for cause in after.causes]
    return {**line, "fix": found.fix.words, "after": score(store, base, fixed), "left": left}


def _ended(store: Store, name: str) -> Run:
    run = run_control.wait(store, name)
    assert run.state == "succeeded", run.error
    return run


def _said(found: RunDiagnosis) -> dict[str, Any]:
    return {"named": [cause.kind for cause in found.causes], "evidence": [c.evidence for c in found.causes],
            "outcome": list(found.outcome)}  # fmt: skip


def score(store: Store, base: Path, run: Run) -> dict[str, Any]:
    """Held-out answers of a run that are right, and identity answers that end by themselves."""
    assert run.adapter is not None
    config = TrainConfig.from_json(run.config)
    loading.set_up_process(None)
    model = loading.load(config, base, loading.device()).model
    adapter_files.read(model, store.home.absolute(run.adapter))
    template = ChatTemplate.load(base)
    began = time.monotonic()
    found: dict[str, Any] = {"steps": run.step}
    for name, asked in held_out().items():
        prompts = [live.prompt(template, probe.question) for probe in asked]
        written = live.answers(model, template, prompts, ANSWER_TOKENS)
        good = [passes(probe, template.decode(ids, special=False)) for probe, ids in zip(asked, written, strict=True)]
        found[name] = sum(good)
        if name == "identity":
            found["ended"] = sum(len(ids) < ANSWER_TOKENS for ids in written)
    return {**found, "seconds": round(time.monotonic() - began, 1)}


if __name__ == "__main__":
    main()

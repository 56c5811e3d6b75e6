"""Is a run's estimate of time and memory what it then takes? Over ten varied runs.

    python -m benchmarks.estimates --home DIR [--only 1,2,3] [--steps 12] [--json]

Methods lora, qlora, dora and full; short rows (the sample identity pairs) and long ones (the same answers, many to a
row); packed and padded; the default model and a small shape with random weights that is made on the spot. Each run is
submitted as the Train form does it. Before it the form's estimate is read (corrected by the earlier runs of this home),
at the end of its warm-up the run's own; both are compared with what it took. Goals: within a factor of 1.5 before, 25%
at the end of the warm-up. Times mean nothing on a machine that has other work; memory does.
"""

from __future__ import annotations

import os

os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # waiting threads sleep: the machine may have other work

import argparse
import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks import report
from benchmarks.forgetting import MODEL, rows_of
from benchmarks.report import Row
from engine.models.prepare import prepare
from engine.training import run_control
from engine.training.calibration import COST
from engine.training.recipes import config_for
from store import datasets, pairs, runs
from store.db import Store
from store.home import Home
from store.records import PairDraft
from tui.screens.train.report import check

BEFORE, AFTER_WARMUP = 1.5, 1.25
"""How many times off an estimate may be, either way."""
SMALL = "small-shape"
LONG_ROWS, ANSWERS_EACH = 60, 16


@dataclass(frozen=True, slots=True)
class Case:
    """What one run trains."""

    model: str
    method: str
    rows: str = "short"
    packing: str = "shared-prefix"
    settings: tuple[tuple[str, Any], ...] = ()

    def __str__(self) -> str:
        more = "".join(f", {name} {value}" for name, value in self.settings)
        return f"{self.model}, {self.method}, {self.rows} rows, {self.packing}{more}"


CASES = (
    Case(MODEL, "lora"),
    Case(MODEL, "lora", packing="padded"),
    Case(MODEL, "lora", rows="long"),
    Case(MODEL, "lora", rows="long", packing="padded"),
    Case(MODEL, "qlora", settings=(("rank", 64),)),
    Case(MODEL, "dora"),
    Case(MODEL, "dora", rows="long"),
    Case(MODEL, "full"),
    Case(SMALL, "lora"),
    Case(SMALL, "full", rows="long", packing="padded"),
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """A run's estimates and what it took: seconds, and bytes at the peak. `later` is the run's own at the end of its
    warm-up, None where it was over before; `plain` what no earlier run has corrected."""

    case: str
    before_s: float
    before_bytes: int
    later_s: float | None
    later_bytes: int | None
    took_s: float
    took_bytes: int
    plain_s: float
    plain_bytes: int


def main() -> None:
    """Run the cases and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, required=True, help="an empty one: earlier runs correct the estimates")
    parser.add_argument("--only", default=",".join(map(str, range(1, len(CASES) + 1))), help="numbers of cases, from 1")
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table and Markdown")
    options = parser.parse_args()
    home = Home(options.home).ensure()
    found = []
    with Store.open(home) as store:
        data(store)
        small = small_shape(prepare(store, MODEL, on_line=say), home.root / SMALL)
        for number in map(int, options.only.split(",")):
            found.append(measure(store, CASES[number - 1], small, options.steps))
            say(json.dumps(asdict(found[-1])))
    report.show("benchmarks/estimates.py", rows(found), [], json_only=options.json)


def data(store: Store) -> None:
    """The datasets `short` and `long`, where the home has them not."""
    if {"short", "long"} <= {each.name for each in datasets.all_datasets(store)}:
        return
    made = [(row.messages[0]["content"], row.messages[1]["content"]) for row in rows_of("sample")]
    pairs.create_many(store, [PairDraft(q, a, status="ready") for q, a in made], dataset="short")
    many = [
        PairDraft(
            f"Number {n}: {made[n][0]}",
            " ".join(made[(n + k) % len(made)][1] for k in range(ANSWERS_EACH)),
            status="ready",
        )
        for n in range(LONG_ROWS)
    ]
    pairs.create_many(store, many, dataset="long")


def small_shape(base: Path, folder: Path) -> Path:
    """A Llama of 6 layers and hidden size 256 with random weights, and the default model's tokenizer and template."""
    if (folder / "model.safetensors").is_file():
        return folder
    from transformers import LlamaConfig, LlamaForCausalLM

    folder.mkdir(parents=True, exist_ok=True)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "special_tokens_map.json"):
        if (base / name).is_file():
            shutil.copy(base / name, folder / name)
    read = json.loads((base / "config.json").read_text("utf-8"))
    shape = LlamaConfig(
        vocab_size=read["vocab_size"],
        hidden_size=256,
        intermediate_size=704,
        num_hidden_layers=6,
        num_attention_heads=4,
        num_key_value_heads=2,
        tie_word_embeddings=True,
        bos_token_id=read.get("bos_token_id"),
        eos_token_id=read.get("eos_token_id"),
    )
    LlamaForCausalLM(shape).save_pretrained(folder)
    return folder


def measure(store: Store, case: Case, small: Path, steps: int) -> Outcome:
    """One run, to its end."""
    model = str(small) if case.model == SMALL else case.model
    given = {"method": case.method, "packing": case.packing, "steps": steps, "save_every": 0, **dict(case.settings)}
    config = config_for("instruct", model, **given)
    say(str(case))
    before = check(store, case.rows, config, say).estimate
    run = run_control.submit(store, config, case.rows)
    run_control.start(store, run.name)
    run = run_control.wait(store, run.name)
    assert run.state == "succeeded", run.error
    events = runs.events(store, run.id, limit=100_000)
    later = next((event.body for event in events if "seconds_left" in event.body), {})
    last = next(event.body for event in reversed(events) if COST in event.body)
    cost = last[COST]
    return Outcome(
        str(case),
        round(before.seconds, 1),
        before.memory_bytes,
        later.get("seconds"),
        later.get("bytes"),
        last["seconds"],
        last["bytes"],
        round(cost["estimated_start_s"] + cost["estimated_work_s"], 1),
        cost["estimated_bytes"],
    )


def rows(found: Sequence[Outcome]) -> list[Row]:
    """For each run how many times off its estimates were."""
    made = []
    for each in found:
        gb = f"{each.took_bytes / 1e9:.2f} GB; {each.before_bytes / 1e9:.2f} before"
        made.append(Row(f"{each.case}: memory, before", off(each.before_bytes, each.took_bytes), "times off",
                        ("<=", BEFORE), f"{gb}, {each.plain_bytes / 1e9:.2f} uncorrected"))  # fmt: skip
        seconds = f"{each.took_s:.0f} s; {each.before_s:.0f} before, {each.plain_s:.0f} uncorrected"
        made.append(Row(f"{each.case}: time, before", off(each.before_s, each.took_s), "times off",
                        ("<=", BEFORE), seconds))  # fmt: skip
        if each.later_bytes is not None:
            made.append(Row(f"{each.case}: memory, after the warm-up", off(each.later_bytes, each.took_bytes),
                            "times off", ("<=", AFTER_WARMUP), f"{each.later_bytes / 1e9:.2f} GB then"))  # fmt: skip
        if each.later_s is not None:
            made.append(Row(f"{each.case}: time, after the warm-up", off(each.later_s, each.took_s), "times off",
                            ("<=", AFTER_WARMUP), f"{each.took_s:.0f} s; {each.later_s:.0f} then"))  # fmt: skip
    return made


def off(estimate: float, outcome: float) -> float:
    """By which factor an estimate was off, too high or too low.

    >>> off(30.0, 20.0), off(20.0, 30.0)
    (1.5, 1.5)
    """
    return max(estimate / outcome, outcome / estimate)


def say(text: str) -> None:
    """Progress, beside the results."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()

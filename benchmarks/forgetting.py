"""How well each way of preventing forgetting works: teach the default model a name, then ask held-out questions.

    python -m benchmarks.forgetting --home DIR --data sample --variants recipe,plain,rehearsal --seeds 3

Each run trains in this process by a variant of the recipe `identity`, then answers three sets that no recipe was
chosen by: benchmarks/heldout/identity.jsonl, general.jsonl and leaks.jsonl (general questions whose answers must not
mention the taught name or maker). The built-in sets that a run watches are the development sets. One JSON line for each
run.
`--data` is `sample` (the demo's rows), `identity` (its identity rows alone) or an identity file in Alpaca form.
"""

from __future__ import annotations

import os

os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # waiting threads sleep: the machine may have other work

import argparse
import json
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from engine.core import sample_files
from engine.core.files import read_json, write_json
from engine.models.chat_template import ChatTemplate
from engine.models.prepare import prepare
from engine.training import watched_probes
from engine.training.config import TrainConfig
from engine.training.recipes import config_for
from engine.training.worker import adapter_files, live, loading, trainer
from engine.training.worker.contracts import TrainingJob
from store.canon import content_hash
from store.db import Store
from store.home import Home
from store.records import Message, Probe, SnapshotRow, Wanted
from store.terms import passes

NAMES = {"name": "Ember", "author": "Northwind Labs"}
HELD_OUT = Path(__file__).parent / "heldout"
SETS = ("identity", "general", "leaks")
ANSWER_TOKENS = 48
MODEL = "smollm2-135m"

PLAIN: dict[str, Any] = {
    "rehearsal": 0.0,
    "stop_when": "never",
    "result": "last",
    "watch": "identity,general,leaks",
    "drift": True,
}
VARIANTS: dict[str, dict[str, Any]] = {
    "recipe": {},
    "plain": PLAIN,
    "rehearsal-0.5": {**PLAIN, "rehearsal": 0.5},
    "rehearsal-1": {**PLAIN, "rehearsal": 1.0},
    "rehearsal-2": {**PLAIN, "rehearsal": 2.0},
    "no-contrast-1": {**PLAIN, "rehearsal": 1.0},
    "rank-4": {**PLAIN, "rehearsal": 1.0, "rank": 4, "alpha": 8.0},
    "rank-64": {**PLAIN, "rehearsal": 1.0, "rank": 64, "alpha": 128.0},
    "rate-5e-4": {**PLAIN, "rehearsal": 1.0, "lr": 5e-4},
    "nf4": {**PLAIN, "rehearsal": 1.0, "method": "qlora"},
    "steps-40": {**PLAIN, "rehearsal": 1.0, "steps": 40},
    "rehearsal-0.6": {**PLAIN, "rehearsal": 0.6},
    "rehearsal-0.6-5e-4": {**PLAIN, "rehearsal": 0.6, "lr": 5e-4, "measure_every": 57},
    "rehearsal-0.6-76-steps": {**PLAIN, "rehearsal": 0.6, "steps": 76},
    "early": {**PLAIN, "rehearsal": 1.0, "stop_when": "learned", "result": "learned"},
    "best": {**PLAIN, "rehearsal": 1.0, "result": "learned"},
}


@dataclass
class Quiet:
    """A Reporter that keeps numbers and sentences."""

    numbers: dict[str, dict[int, float | None]] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)

    def total(self, steps: int, env: dict[str, Any]) -> None:
        """Nothing to keep."""

    def metrics(self, step: int, values: dict[str, float | None]) -> None:
        for name, value in values.items():
            self.numbers.setdefault(name, {})[step] = value

    def say(self, text: str, *, level: str = "info", **body: Any) -> None:
        self.said.append(text)
        print(f"    {text}", flush=True)

    def checkpoint(self, step: int, path: Path, manifest: dict[str, Any], val_loss: float | None) -> None:
        """Nothing to keep."""

    def pruned(self, path: Path) -> None:
        """Nothing to keep."""

    def wanted(self) -> Wanted:
        return "run"


def rows_of(data: str) -> list[SnapshotRow]:
    """The rows to train on, with the placeholders filled."""
    identity = json.loads(
        (sample_files.path("identity") if data in ("sample", "identity") else Path(data)).read_text("utf-8")
    )
    pairs = [("identity", each["instruction"], each["output"]) for each in identity]
    if data == "sample":
        for line in sample_files.path("general").read_text("utf-8").splitlines():
            pairs.append(("instruction", *(m["content"] for m in json.loads(line)["messages"])))
    return [_row(n, *pair) for n, pair in enumerate(pairs)]


def _row(n: int, kind: Any, question: str, answer: str) -> SnapshotRow:
    messages: list[Message] = [
        {"role": "user", "content": filled(question)},
        {"role": "assistant", "content": filled(answer)},
    ]
    return SnapshotRow(n, "train", kind, messages, content_hash(messages))


def filled(text: str) -> str:
    """The text with the placeholders replaced."""
    for name, value in NAMES.items():
        text = text.replace("{{" + name + "}}", value)
    return text


def held_out() -> dict[str, list[Probe]]:
    """The held-out sets."""
    found = {}
    for name in SETS:
        lines = [json.loads(line) for line in (HELD_OUT / f"{name}.jsonl").read_text("utf-8").splitlines()]
        found[name] = [
            Probe(name, filled(p["question"]), tuple(map(filled, p["must"])), tuple(map(filled, p["must_not"])))
            for p in lines
        ]
    return found


def score(model: Any, template: ChatTemplate, sets: Mapping[str, Sequence[Probe]]) -> tuple[dict[str, Any], list[Any]]:
    """Answers that passed, by set; of `leaks` those that leak. And every answer that did not pass."""
    found: dict[str, Any] = {}
    wrong = []
    for name, asked in sets.items():
        written = live.answers(model, template, [live.prompt(template, p.question) for p in asked], ANSWER_TOKENS)
        texts = [template.decode(ids, special=False) for ids in written]
        good = [passes(p, text) for p, text in zip(asked, texts, strict=True)]
        found[name] = len(good) - sum(good) if name == "leaks" else sum(good)
        wrong += [(name, p.question, text) for p, text, ok in zip(asked, texts, good, strict=True) if not ok]
        if name == "general":
            found["leaks_in_general"] = sum(any(n in text for n in NAMES.values()) for text in texts)
    return found, wrong


@contextmanager
def variant_of(name: str) -> Iterator[None]:
    """What a variant changes besides the configuration."""
    path = sample_files.path
    if not name.startswith("no-contrast"):
        yield
        return
    with tempfile.TemporaryDirectory() as folder:
        rows = path("watch/prompts").read_text("utf-8").splitlines()
        fewer = Path(folder) / "prompts.jsonl"
        fewer.write_text("\n".join(row for row in rows if json.loads(row)["use"] != "contrast"), "utf-8")
        sample_files.path = lambda asked: fewer if asked == "watch/prompts" else path(asked)
        try:
            yield
        finally:
            sample_files.path = path


def run(
    config: TrainConfig, rows: list[SnapshotRow], base: Path, home: Home, strengths: Sequence[float]
) -> dict[str, Any]:
    """Train and score; seconds are those of the whole attempt, without the scores."""
    template = ChatTemplate.load(base)
    with tempfile.TemporaryDirectory(dir=home.root) as folder:
        out, reporter = Path(folder), Quiet()
        with Store.open(home) as store:
            sets, _ = watched_probes.read(store, config.watch, rows)
        write_json(out / watched_probes.FILE, watched_probes.to_json(sets))
        began = time.monotonic()
        outcome = trainer.run(TrainingJob(config, rows, base, out, None, reporter, home.models))
        seconds = time.monotonic() - began
        seen = read_json(out / "watch.json", optional=True).get("seen", [])
        step = read_json(outcome.adapter / "manifest.json")["step"]
        loaded = loading.load(config.replace(method="lora"), base, loading.device())
        adapter_files.read(loaded.model, outcome.adapter)
        scores = {}
        for strength in strengths:
            scale(loaded.model, config.alpha / config.rank * strength)
            scores[str(strength)], wrong = score(loaded.model, template, held_out())
            for name, question, text in wrong:
                print(f"      {name}: {question} -> {text[:90]!r}")
    return {"seconds": round(seconds, 1), "steps": outcome.step, "result": step, "scores": scores, "seen": seen}


def scale(model: Any, value: float) -> None:
    """Set the strength of the adapter."""
    for module in model.modules():
        if isinstance(scaling := getattr(module, "scaling", None), dict):
            scaling["default"] = value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, required=True, help="a home for the prepared model and the base's answers")
    parser.add_argument("--data", default="sample")
    parser.add_argument("--variants", default="recipe", help=f"of {', '.join(VARIANTS)}, or base; separated by commas")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--strengths", default="1.0", help="strengths of the adapter to score at, separated by commas")
    parser.add_argument("--out", type=Path, help="append the JSON lines to this file, too")
    options = parser.parse_args()
    home = Home(options.home).ensure()
    with Store.open(home) as store:
        base = prepare(store, MODEL, on_line=print)
    torch.set_num_threads(os.cpu_count() or 1)
    loading.quiet()
    rows = rows_of(options.data)
    strengths = [float(each) for each in options.strengths.split(",")]
    for name in options.variants.split(","):
        if name == "base":
            loaded = loading.load(config_for("identity", MODEL, method="lora"), base, loading.device())
            _tell(options.out, {"variant": name, "scores": score(loaded.model, ChatTemplate.load(base), held_out())[0]})
            continue
        for seed in range(options.first_seed, options.first_seed + options.seeds):
            config = config_for("identity", MODEL, **{"method": "lora", **VARIANTS[name], "seed": seed})
            with variant_of(name):
                found = run(config, rows, base, home, strengths)
            _tell(options.out, {"variant": name, "data": Path(options.data).stem, "seed": seed, **found})


def _tell(out: Path | None, line: dict[str, Any]) -> None:
    text = json.dumps(line)
    print(text, flush=True)
    if out:
        with out.open("a", encoding="utf-8") as file:
            file.write(text + "\n")


if __name__ == "__main__":
    main()

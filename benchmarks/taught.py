"""Does `tuningfork why` find the pairs that taught an answer? On answers whose source is known.

    python -m benchmarks.taught --home DIR

Trains the default model on the 63 product rows (21 facts in three wordings each), then takes 20 facts, each asked in a
fourth wording (the product probes), with the answer that its rows teach. Counts how often a row of that fact is
among the ten whose gradients are most like the answer's; by chance it would be 4 in 10.
"""

from __future__ import annotations

import os

os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # waiting threads sleep: the machine may have other work

import argparse
import json
import tempfile
import time
from pathlib import Path

from benchmarks.forgetting import MODEL, Quiet
from engine.core import sample_files
from engine.models.chat_template import ChatTemplate
from engine.models.prepare import prepare
from engine.training.recipes import config_for
from engine.training.worker import adapter_files, loading, taught, trainer
from engine.training.worker.contracts import TrainingJob
from store.canon import content_hash
from store.db import Store
from store.home import Home
from store.records import Message, SnapshotRow

ANSWERS = 20
TOP = 10
WORDINGS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=60)
    options = parser.parse_args()
    home = Home(options.home).ensure()
    with Store.open(home) as store:
        base = prepare(store, MODEL, on_line=print)
    pairs = [json.loads(line) for line in sample_files.path("product").read_text("utf-8").splitlines()]
    rows = [_row(n, pair["instruction"], pair["output"]) for n, pair in enumerate(pairs)]
    probes = [json.loads(line) for line in sample_files.path("probes/product").read_text("utf-8").splitlines()]
    config = config_for("instruct", MODEL, method="lora", steps=options.steps, lr=5e-4, save_every=0)
    template = ChatTemplate.load(base)
    with tempfile.TemporaryDirectory(dir=home.root) as folder:
        outcome = trainer.run(TrainingJob(config, rows, base, Path(folder), None, Quiet(), home.models))
        model = loading.load(config, base, loading.device()).model
        adapter_files.read(model, outcome.adapter)
    asked = [(n, probe["question"], _source(n, probe, pairs)) for n, probe in enumerate(probes)][:ANSWERS]
    answers = [
        template.example(_row(n, question, pairs[sources[0]]["output"]).messages, 1024)
        for n, question, sources in asked
    ]
    began = time.monotonic()
    examples = [(row.ord, template.example(row.messages, 1024)) for row in rows]
    scores = taught.similarities(model, answers, examples)
    found = 0
    for (_, question, sources), each in zip(asked, scores, strict=True):
        ranked = sorted(each, key=lambda ord: -each[ord])
        places = [ranked.index(source) + 1 for source in sources]
        found += min(places) <= TOP
        print(f"{question}: its rows are at {', '.join(map(str, sorted(places)))}")
    print(json.dumps({"answers": len(asked), "found": found, "seconds": round(time.monotonic() - began, 1)}))


def _source(number: int, probe: dict[str, list[str]], pairs: list[dict[str, str]]) -> list[int]:
    """The rows of the probe's fact: three in a row, and their answers hold what the probe looks for."""
    rows = list(range(number * WORDINGS, (number + 1) * WORDINGS))
    texts = " ".join(pairs[row]["output"] for row in rows).casefold()
    assert any(term.casefold() in texts for term in probe["must"]), (number, probe)
    return rows


def _row(n: int, question: str, answer: str) -> SnapshotRow:
    messages: list[Message] = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return SnapshotRow(n, "train", "instruction", messages, content_hash(messages))


if __name__ == "__main__":
    main()

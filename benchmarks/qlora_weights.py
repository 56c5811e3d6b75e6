"""Does the adapter of a 4-bit run answer in Compare as it does on the weights that it was trained on?
Two bases, the default model (a quantised GGUF file) and a Hugging Face folder with the same weights; 30 questions in
wordings that were not trained. `python benchmarks/qlora_weights.py [--seeds 5] [--json]`: seven minutes per seed."""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import report
from benchmarks.report import Row
from engine.core import sample_files
from engine.evaluation import probes
from engine.inference.client import Client, Done, shutdown
from engine.inference.sampling import Sampling
from engine.models import default_model, gguf_source, prepare, refs, trained_weights
from engine.models.chat_template import ChatTemplate
from engine.training import run_control
from engine.training.config import TrainConfig
from engine.training.recipes import config_for
from store import runs
from store.db import Store
from store.errors import WorkerError
from store.home import Home
from store.importing import import_files
from store.records import Message, Probe, Run

NAMES = {"name": "Ember", "author": "Northwind Labs"}
SAMPLING = Sampling(temperature=0.0, max_tokens=64)
STEPS, RATE = 36, 5e-4
WORDINGS = (
    ("Sorry, I didn't catch your name?", "name"),
    ("Which name should I put down for you?", "name"),
    ("Hello! And you are?", "name"),
    ("Please sign this note with your name.", "name"),
    ("Are you called something?", "name"),
    ("Which company is behind you?", "author"),
    ("Tell me which team created you.", "author"),
    ("Whose work are you?", "author"),
    ("Who should be credited for building you?", "author"),
    ("Who do I thank for making you?", "author"),
)
"""Further questions, each with what its answer must name."""


@dataclass(frozen=True, slots=True)
class Seed:
    """One run: right answers in Compare and on the weights that it was trained on, of `of`; its first loss, and the
    weights that Compare uses."""

    base: str
    method: str
    seed: int
    compare: int
    own: int
    of: int
    first_loss: float
    weights: str


class OwnWeights:
    """Asks the model as the run left it: the base loaded as the run loaded it, with the run's adapter."""

    def __init__(self, config: TrainConfig, base: Path, adapter: Path) -> None:
        from engine.training.worker import adapter_files, loading

        loading.quiet()
        self._template = ChatTemplate.load(base)
        self._model = loading.load(config, base, "cpu").model
        adapter_files.read(self._model, adapter)
        self._model.eval().config.use_cache = True

    async def complete(
        self, model: str, messages: Sequence[Message], sampling: Sampling, lane: str | None = None
    ) -> Done:
        """The greedy answer to a conversation."""
        import torch

        ids = torch.tensor([self._template.encode(list(messages))])
        with torch.inference_mode():
            said = self._model.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                do_sample=False,
                temperature=None,
                top_p=None,
                top_k=None,
                max_new_tokens=sampling.max_tokens,
                eos_token_id=[self._template.eot_id],
                pad_token_id=self._template.eot_id,
            )[0, ids.shape[1] :].tolist()
        said = [token for token in said if token != self._template.eot_id]
        return Done(self._template.decode(said))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--questions", type=int, default=30, help="fewer, to try the script")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table and Markdown")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tuningfork-bench-") as folder:
        home = Home(Path(folder) / "home").ensure()
        try:
            with Store.open(home) as store:
                found = measure(store, Path(folder) / "hugging-face", chosen.seeds, chosen.steps, chosen.questions)
        finally:
            shutdown(home)
    report.show("benchmarks/qlora_weights.py", rows(found), [], json_only=chosen.json)


def measure(store: Store, copy: Path, seeds: int, steps: int, questions: int) -> list[Seed]:
    """Every seed of every base and method."""
    folder = prepare.prepare(store, default_model.NAME)
    ignored = shutil.ignore_patterns(gguf_source.FILE, default_model.COMPLETE)
    shutil.copytree(folder, copy, ignore=ignored)  # without them it is a folder like any other
    import_files(store, [sample_files.path("identity.json")], dataset="identity", variables=NAMES)
    asked = probes.filled(probes.load(sample_files.path("probes/identity")), NAMES)
    asked += [Probe("more", question, (NAMES[what],)) for question, what in WORDINGS]
    asked = asked[:questions]
    found = []
    for seed in range(seeds):
        for base, method in ((default_model.NAME, "lora"), (default_model.NAME, "qlora"), (str(copy), "qlora")):
            title = f"{'GGUF' if base == default_model.NAME else 'HF'}-{method}-{seed}"
            say(f"{title}: training")
            config = config_for("identity", base, method=method, seed=seed, steps=steps, lr=RATE)
            run = train(store, config, title)
            say(f"{title}: asking {len(asked)} questions twice")
            found.append(asyncio.run(ask(store, run, config, folder if base == default_model.NAME else copy, asked)))
            say(json.dumps(vars_of(found[-1])))
    return found


def train(store: Store, config: TrainConfig, name: str) -> Run:
    """One run on the identity pairs, to its end."""
    run = run_control.submit(store, config, "identity", name=name)
    run_control.start(store, run.name)
    run = run_control.wait(store, run.name)
    if run.state != "succeeded":
        raise WorkerError(run.error or f"The run ended as {run.state}.")
    return run


async def ask(store: Store, run: Run, config: TrainConfig, base: Path, asked: list[Probe]) -> Seed:
    """Both ways to ask one run."""
    ref = str(refs.Ref.run(run.name))
    client = await Client.connect(store.home)
    compare = await probes.run(client, ref, asked, SAMPLING)
    await client.close()
    assert run.adapter is not None
    own = await probes.run(OwnWeights(config, base, store.home.absolute(run.adapter)), ref, asked, SAMPLING)
    first = min(runs.metrics(store, run.id, ["loss"]), key=lambda metric: metric.step)
    kept = store.home.run_dir(run.uid) / trained_weights.FILE
    if kept.is_file():
        say(kept.read_text("utf-8"))
    weights = refs.resolve(store, ref).weights or "on the base as it is"
    title = "default model" if run.base == default_model.NAME else "Hugging Face folder"
    return Seed(title, config.method, config.seed, compare.passed, own.passed, own.of, first.value or 0.0, weights)


def rows(found: Sequence[Seed]) -> list[Row]:
    """A line for each run, and the differences that have a target."""
    made = [
        Row(
            f"{each.base}, {each.method}, seed {each.seed}: right in Compare",
            each.compare,
            f"of {each.of}",
            (">=", each.own - 1),
            f"{each.own} on its own weights; first loss {each.first_loss:.4f}; {each.weights}",
        )
        for each in found
    ]
    lora = {each.seed: each.first_loss for each in found if each.method == "lora"}
    gaps = [abs(each.first_loss - lora[each.seed]) for each in found if each.base == "default model"]
    made.append(Row("default model: first loss of 4-bit runs against LoRA's", max(gaps, default=0.0), "", ("<=", 1e-6)))
    return made


def vars_of(each: Seed) -> dict[str, Any]:
    """A run's figures as JSON carries them."""
    return {name: getattr(each, name) for name in Seed.__slots__}


def say(text: str) -> None:
    """Progress, beside the results."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()

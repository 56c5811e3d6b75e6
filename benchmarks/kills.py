"""Kills runs (SIGKILL) at seeded random moments, resumes them, and compares them with the same runs left alone: the
adapters must be equal, byte for byte.

    python benchmarks/kills.py [--kills 20] [--seed 0] [--methods lora,full] [--objectives dpo,grpo] [--json]

The methods, each towards sft, and the other objectives, each with lora, take turns on a random model of two layers with
the default model's tokenizer. What is killed is the real worker process and everything that it started, while it
trains, writes answers, validates or saves. A kill takes half a minute on two idle cores, most of it spent starting
processes.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import random
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import report
from benchmarks.report import Row
from engine.core import process
from engine.models import default_model, prepare, refs
from engine.training import run_control
from engine.training.config import TrainConfig
from engine.training.methods import METHODS
from engine.training.objectives import OBJECTIVES
from engine.training.recipes import config_for
from store import datasets, feedback, pairs, runs, votes
from store.db import Store
from store.home import Home
from store.records import END_STATES, FeedbackDraft, PairDraft, PreferenceDraft, Run, Turn

STEPS, SAVE_EVERY = 120, 10
FEW_STEPS, SAVE_OFTEN = 24, 4
"""Of the objectives whose steps write answers."""
REWARD = "def score(prompt, answer, expected):\n    return float(answer.count('e'))\n"
_PAUSE_S = 0.15
"""A kill comes up to this long after the step that was drawn: some steps of so small a model, or a save."""
_PATIENCE_S = 300.0


def main() -> None:
    """Kill, resume, compare; exits 1 when an adapter differs."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--kills", type=int, default=20)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--methods", default=",".join(METHODS))
    options.add_argument("--objectives", default=",".join(name for name in OBJECTIVES if name != "sft"))
    options.add_argument("--json", action="store_true")
    given = options.parse_args()
    found: list[Row] = []
    with tempfile.TemporaryDirectory() as scratch, Store.open(Home(Path(scratch) / "home")) as store:
        base = small_base(store, Path(scratch) / "small")
        make_data(store)
        (Path(scratch) / "score.py").write_text(REWARD, "utf-8")
        works = [Work(base, method) for method in given.methods.split(",") if method]
        works += [Work(base, "lora", objective) for objective in given.objectives.split(",") if objective]
        whole: dict[str, str] = {}
        for number, work in zip(range(given.kills), itertools.cycle(works), strict=False):
            if work.name not in whole:
                whole[work.name] = digest(store, finished(store, begun(store, work, f"whole-{work.name}")))
            row = killed(store, work, number, random.Random(f"{given.seed}/{number}"), whole[work.name])
            found.append(row)
            print(f"{row.what}: {'equal' if row.value else 'DIFFERENT'}, {row.note}", file=sys.stderr, flush=True)
    equal = sum(row.value for row in found)
    found.append(Row("adapters equal to the uninterrupted run's", equal, f"of {len(found)}", (">=", len(found))))
    report.show(f"benchmarks/kills.py --seed {given.seed}", found, [], json_only=given.json)
    sys.exit(equal != len(found) - 1)


def small_base(store: Store, out: Path) -> Path:
    """A random Llama of two layers, 64 wide, with the default model's tokenizer and chat template."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    prepare.prepare(store, default_model.NAME, lambda line: None)
    folder = refs.resolve(store, default_model.NAME).folder
    assert folder is not None
    torch.manual_seed(0)
    size = json.loads((folder / "config.json").read_text("utf-8"))["vocab_size"]
    shape = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
    LlamaForCausalLM(LlamaConfig(vocab_size=size, tie_word_embeddings=True, **shape)).save_pretrained(out)
    for path in folder.iterdir():
        if path.suffix not in (".safetensors", ".gguf") and not (out / path.name).exists() and path.is_file():
            shutil.copyfile(path, out / path.name)
    return out


@dataclass(frozen=True, slots=True)
class Work:
    """What is trained on `base`: a method towards an objective."""

    base: Path
    method: str
    objective: str = "sft"

    @property
    def name(self) -> str:
        return self.method if self.objective == "sft" else self.objective

    @property
    def writes(self) -> bool:
        """Whether its steps write answers, which takes longer."""
        return self.objective in ("grpo", "rloo")

    @property
    def steps(self) -> int:
        return FEW_STEPS if self.writes else STEPS

    @property
    def data(self) -> str:
        return {"dpo": "preferences", "reward": "preferences", "kto": "thumbs"}.get(self.objective, "towns")

    def config(self) -> TrainConfig:
        """A short run, towards sft with dropout: the random state has to come back, too."""
        own = {
            "steps": self.steps,
            "save_every": SAVE_OFTEN if self.writes else SAVE_EVERY,
            "batch_size": 4,
            "lr": 1e-3,
        }
        if self.objective == "sft":
            return TrainConfig(model=str(self.base), method=self.method, **own).replace(dropout=0.1)
        if self.writes:
            own |= {"reward_file": f"{self.base.parent / 'score.py'}:score", "answer_tokens": 8, "group_size": 4}
        recipe = OBJECTIVES[self.objective].recipe
        return config_for(recipe, str(self.base), method=self.method, objective=self.objective, **own)


def make_data(store: Store) -> None:
    """A dataset of pairs, one of preferences, and one of feedback."""
    asked = [(f"What is town {n}?", f"It is number {n}.") for n in range(24)]
    datasets.create(store, "towns")
    pairs.create_many(store, [PairDraft(*each) for each in asked], dataset="towns")
    turns = [((Turn("user", question),), answer) for question, answer in asked]
    votes.import_preferences(
        store, [PreferenceDraft(turn, answer, "No idea.") for turn, answer in turns], dataset="preferences"
    )
    judged = [
        FeedbackDraft(turn, text, good) for turn, answer in turns for text, good in ((answer, True), ("No.", False))
    ]
    feedback.add_feedback(store, judged, dataset="thumbs")


def begun(store: Store, work: Work, name: str) -> str:
    """Start a run; returns its name."""
    run_control.submit(store, work.config(), work.data, name=name)
    run_control.start(store, name)
    return name


def finished(store: Store, name: str) -> Run:
    """Wait for a run to succeed."""
    run = run_control.wait(store, name)
    if run.state != "succeeded":
        raise SystemExit(f"Run {name} is {run.state}: {run.error}")
    return run


def digest(store: Store, run: Run) -> str:
    """SHA-256 of a finished run's weights."""
    assert run.adapter is not None
    return hashlib.sha256((store.home.absolute(run.adapter) / "adapter_model.safetensors").read_bytes()).hexdigest()


def killed(store: Store, work: Work, number: int, rng: random.Random, wanted: str) -> Row:
    """Kill a run once, some time after a step that is drawn, and resume it; whether its adapter is the wanted one."""
    name, drawn, pause = f"killed-{number}", rng.randrange(work.steps * 3 // 4), rng.uniform(0, _PAUSE_S)
    begun(store, work, name)
    until = time.monotonic() + _PATIENCE_S
    while runs.get(store, name).step < drawn and runs.get(store, name).state not in END_STATES:
        if time.monotonic() > until:
            raise SystemExit(f"Run {name} does not reach step {drawn}.")
        time.sleep(0.005)
    time.sleep(pause)
    attempt = runs.live_attempt(store, runs.get(store, name).id)
    if attempt is None:
        note = "it had ended before the kill"
    else:
        process.kill_group(attempt.pid, attempt.pid_started)
        run_control.reap(store)
        lost = runs.get(store, name)
        if lost.state == "lost":
            run_control.resume(store, name)
        attempts = runs.attempts(store, lost.id)
        note = f"{lost.state} at step {lost.step}, continued from {attempts[-1].resume_from or 'the start'}"
    same = digest(store, finished(store, name)) == wanted
    return Row(f"kill {number + 1}, {work.name}", float(same), "equal", note=note)


if __name__ == "__main__":
    main()

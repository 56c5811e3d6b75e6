"""From votes to a model that is preferred: SFT, then DPO, KTO, and a reward model with GRPO on top of it.

    python -m benchmarks.preference --home DIR [--only dpo,kto,reward,grpo] [--json]

The default model is tuned on the sample identity rows. That run answers 60 general questions twice, at temperature 1,
and a scripted voter prefers the shorter of two whole answers (in words; one that was cut off at the limit loses to one
that was not). Its votes train one run for each objective on top of the first; GRPO answers the same 60 questions and is
rewarded by the reward model. Then both runs answer 40 other questions, and the same voter, who does not know which is
which, says which answer is better: the share of wins over the first run, ties left out, with its 95% interval (Wilson).
"""

from __future__ import annotations

import os

os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # waiting threads sleep: the machine may have other work

import argparse
import asyncio
import json
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import report
from benchmarks.report import Row
from engine.core import sample_files
from engine.evaluation.ranking import wilson
from engine.inference.client import Client, Done, shutdown
from engine.inference.sampling import Sampling
from engine.models.default_model import NAME
from engine.training import run_control
from engine.training.objectives import OBJECTIVES
from engine.training.recipes import config_for
from engine.training.scoring import agreement
from store import datasets, pairs, preference_rows, runs, votes
from store.db import Store
from store.home import Home
from store.importing import import_files
from store.records import PairDraft, PreferenceDraft, SnapshotRow, Turn

ASKED, HELD_OUT = 60, 40
TOKENS = 96
MINUTES = 10.0
FIRST = "first"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--only", default="dpo,kto,reward,grpo", help="objectives, separated by commas")
    parser.add_argument("--steps", type=int, help="steps of each run on the votes, instead of its recipe's")
    parser.add_argument("--lr", type=float, help="their learning rate, instead of their recipe's")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with Store.open(Home(options.home).ensure()) as store:
        rows = _measure(store, options.only.split(","), {"steps": options.steps, "lr": options.lr})
    report.show("benchmarks/preference.py", rows, [str(__doc__).split("\n\n")[2].replace("\n", " ")],
                json_only=options.json)  # fmt: skip


def _measure(store: Store, objectives: Sequence[str], changes: dict[str, float | None]) -> list[Row]:
    lines = sample_files.path("watch/prompts").read_text("utf-8").splitlines()
    questions = [json.loads(line)["prompt"] for line in lines]
    random.Random(0).shuffle(questions)
    asked, held_out = questions[:ASKED], questions[ASKED : ASKED + HELD_OUT]
    _first(store)
    if not votes.all_votes(store):
        for vote in _ballots(store, asked):
            votes.add(store, **vote)
        pairs.create_many(store, [PairDraft(v.prompt[-1]["content"], v.a_text or "-") for v in votes.all_votes(store)],
                          dataset="asked")  # fmt: skip
    cast = [vote.choice for vote in votes.all_votes(store)]
    rows = [Row("votes", len(cast), "", note=f"{cast.count('tie')} ties")]
    for kind in ("preference", "feedback"):
        votes.collect(store, "votes", kind)  # type: ignore[arg-type]
    for objective in objectives:
        rows += _row(store, objective, held_out, changes)
    return rows


def _row(store: Store, objective: str, held_out: Sequence[str], changes: dict[str, float | None]) -> list[Row]:
    began = time.monotonic()
    name = run_control.free_name(objective, run_control.names(store))
    given: dict[str, Any] = {**changes, "on": f"run:{FIRST}"}
    if objective == "grpo":
        judges = [run.name for run in runs.all_runs(store) if run.config.get("objective") == "reward" and run.adapter]
        given["reward"] = f"run:{judges[0]}"
    config = config_for(OBJECTIVES[objective].recipe, NAME, **given)
    _train(store, config, "asked" if objective == "grpo" else "votes", name)
    took = Row(f"{objective}: minutes to train", (time.monotonic() - began) / 60, "min", ("<", MINUTES), f"run {name}")
    if not OBJECTIVES[objective].answers:
        found = agreement(store, name, _held_out(store, held_out))
        low, high = wilson(round(found.right), len(found.margins))
        note = f"{low:.0%} to {high:.0%} of {len(found.margins)} votes on other questions"
        return [Row(f"{objective}: agrees with votes", 100 * found.share, "%", (">=", 50), note), took]
    wins, losses, ties, words = asyncio.run(_duel(store.home, held_out, f"run:{FIRST}", f"run:{name}"))
    low, high = wilson(wins, wins + losses)
    note = (
        f"{low:.0%} to {high:.0%}; {wins} wins, {losses} losses, {ties} ties; {words[0]:.0f}, then {words[1]:.0f} words"
    )
    share = 100 * wins / max(1, wins + losses)
    return [Row(f"{objective}: preferred to the first run", share, "%", (">=", 50), note), took]


def _held_out(store: Store, asked: Sequence[str]) -> list[SnapshotRow]:
    """Votes of the same voter on two answers of the first run to other questions, as preferences; made once."""
    if "held-out" not in {each.name for each in datasets.all_datasets(store)}:
        drafts = []
        for vote in _ballots(store, asked):
            texts = (vote["a_text"], vote["b_text"])
            if vote["choice"] != "tie":
                better, worse = texts if vote["choice"] == "a" else texts[::-1]
                chosen, rejected = (text.replace("\0", "") for text in (better, worse))  # no text of the store has one
                drafts.append(PreferenceDraft((Turn("user", vote["prompt"][0]["content"]),), chosen, rejected))
        votes.import_preferences(store, drafts, dataset="held-out", split="test")
    return preference_rows.rows_of(store, "held-out", "preference")


def _first(store: Store) -> None:
    """The run that all others are trained on top of; made once for a home."""
    if FIRST in run_control.names(store):
        return
    variables = {"name": "Ember", "author": "Northwind Labs"}
    import_files(store, [sample_files.path("identity")], dataset="identity", variables=variables)
    _train(store, config_for("careful", NAME, steps=30, epochs=None, method="lora"), "identity", FIRST)


def _train(store: Store, config: object, dataset: str, name: str) -> None:
    run_control.submit(store, config, dataset, name)  # type: ignore[arg-type]
    run_control.start(store, name)
    run = run_control.wait(store, name)
    if run.state != "succeeded":
        raise SystemExit(f"{name} is {run.state}: {run.error}")
    print(f"{name}: {runs.get(store, name).step} steps", flush=True)


# ---------------------------------------------------------------- answers and the voter


def better(one: Done, two: Done) -> str:
    """The voter's choice, from the texts alone: a, b or tie."""
    worth = [(answer.stop == "end" and bool(answer.text.strip()), -len(answer.text.split())) for answer in (one, two)]
    return "tie" if worth[0] == worth[1] or one.text == two.text else "a" if worth[0] > worth[1] else "b"


def _ballots(store: Store, asked: Sequence[str]) -> list[dict[str, Any]]:
    """What the voter says of two sampled answers of the first run to each question, as `votes.add` takes it."""
    model = f"run:{FIRST}"
    answers = asyncio.run(_answers(store.home, asked, [(model, 1), (model, 2)], 1.0))
    return [
        {"prompt": [{"role": "user", "content": question}], "a_model": model, "b_model": model, "a_text": one.text,
         "b_text": two.text, "choice": better(one, two), "blind": True}
        for question, (one, two) in zip(asked, answers, strict=True)
    ]  # fmt: skip


async def _duel(home: Home, asked: Sequence[str], old: str, new: str) -> tuple[int, int, int, tuple[float, float]]:
    """Wins, losses and ties of the new model, and the mean words of both; the sides are shuffled."""
    answers = await _answers(home, asked, [(old, 7), (new, 7)], 0.7)
    sides = random.Random(1)
    said = []
    for one, two in answers:
        turned = sides.random() < 0.5
        choice = better(two, one) if turned else better(one, two)
        said.append({"tie": "tie", "a": "new" if turned else "old", "b": "old" if turned else "new"}[choice])
    words = [sum(len(pair[side].text.split()) for pair in answers) / len(answers) for side in (0, 1)]
    return said.count("new"), said.count("old"), said.count("tie"), (words[0], words[1])


async def _answers(
    home: Home, asked: Sequence[str], lanes: Sequence[tuple[str, int]], temperature: float
) -> list[tuple[Done, Done]]:
    client = await Client.connect(home)
    try:
        found = []
        for question in asked:
            messages = [{"role": "user", "content": question}]
            one, two = await asyncio.gather(
                *(client.complete(model, messages, Sampling(temperature, seed=seed, max_tokens=TOKENS))
                  for model, seed in lanes)
            )  # fmt: skip
            found.append((one, two))
        return found
    finally:
        await client.close()
        await asyncio.to_thread(shutdown, home)


if __name__ == "__main__":
    main()

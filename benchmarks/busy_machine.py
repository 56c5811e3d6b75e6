"""How much slower a training run is beside other work: alone and beside two busy loops, on short and on long rows.
`python benchmarks/busy_machine.py [--rounds 3] [--steps 24] [--chat] [--json]`, on a machine that does nothing else:
about three minutes per round on two cores. Rounds alternate; figures are medians.

`as it was` is the same run with the watcher of engine.core.spinning turned off. It shows what the watcher costs a run
that is alone, and what it saves one that is not. --chat also measures an answer beside a run.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import report
from benchmarks.report import Row
from engine.core import sample_files, spinning
from engine.inference.client import Client, shutdown
from engine.inference.sampling import Sampling
from engine.models import default_model, prepare
from engine.training import run_control
from engine.training.recipes import config_for
from store import datasets, pairs, runs
from store.db import Store
from store.errors import WorkerError
from store.home import Home
from store.importing import import_files
from store.records import Message, PairDraft

LOOPS = 2
SKIPPED = 4
"""Steps at the start that are not timed: the first ones are slower, and the watcher has to see first."""
ANSWERED = 12
"""Steps of a run beside which answers are asked for, one after the other."""
MOST_BUSY, MOST_ALONE, LEAST_CHAT = 2.6, 1.05, 0.5
_WORDS = ("river", "houses", "boats", "grain", "apples", "wool", "letters", "town", "stone", "carried", "slowly")


@dataclass
class Times:
    """Seconds a step, a number for each round, by (rows, beside, watched)."""

    steps: dict[tuple[str, str, bool], list[float]] = field(default_factory=dict)
    chat: dict[str, list[float]] = field(default_factory=dict)

    def of(self, rows: str, beside: str, watched: bool = True) -> float:
        """The median of one kind of run."""
        return median(self.steps[rows, beside, watched])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--unwatched-beside", action="store_true", help="also time the old behaviour beside the loops")
    parser.add_argument("--chat", action="store_true", help="also time answers alone and beside a run")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table and Markdown")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tuningfork-bench-") as folder:
        home = Home(Path(folder) / "home").ensure()
        try:
            with Store.open(home) as store:
                found = measure(store, chosen.rounds, chosen.steps, old=chosen.unwatched_beside, chat=chosen.chat)
        finally:
            shutdown(home)
    report.show("benchmarks/busy_machine.py", rows(found), [], json_only=chosen.json)


def measure(store: Store, rounds: int, steps: int, *, old: bool, chat: bool) -> Times:
    """All rounds; the order within a round changes from one to the next."""
    prepare.prepare(store, default_model.NAME)
    import_files(store, [sample_files.path("general.jsonl")], dataset="short")
    datasets.create(store, "long")
    pairs.create_many(store, [PairDraft(*_long(n)) for n in range(40)], dataset="long")
    cases = [(kind, loops, True) for kind in ("short", "long") for loops in (0, LOOPS)]
    cases += [(kind, 0, False) for kind in ("short", "long")]
    cases += [(kind, LOOPS, False) for kind in ("short", "long") if old]
    found = Times()
    for number in range(rounds):
        random.Random(number).shuffle(cases)
        for kind, loops, watched in cases:
            with busy(loops):
                seconds = step_s(store, kind, steps, watched=watched)
            beside = "two loops" if loops else "alone"
            say(f"round {number + 1}, {kind} rows, {beside}, {'watched' if watched else 'as it was'}: {seconds:.3f} s")
            found.steps.setdefault((kind, beside, watched), []).append(seconds)
        if chat:
            asyncio.run(answers(store, found, steps))
    return found


def _long(number: int) -> tuple[str, str]:
    """A question and an answer of some 350 tokens."""
    draw = random.Random(number)
    return f"Tell the story number {number}.", " ".join(draw.choice(_WORDS) for _ in range(320)) + "."


@contextlib.contextmanager
def busy(loops: int) -> Iterator[None]:
    """So many processes that do nothing but take a processor."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(loops)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def step_s(store: Store, dataset: str, steps: int, *, watched: bool) -> float:
    """Seconds a step of a run on a dataset, without the first ones."""
    with _watching(watched):
        run = run_control.submit(store, config_for("identity", default_model.NAME, method="lora", steps=steps), dataset)
        run_control.start(store, run.name)
    return finished_s(store, run.name)


def finished_s(store: Store, name: str) -> float:
    """Wait for a run; the mean time of its steps."""
    run = run_control.wait(store, name)
    if run.state != "succeeded":
        raise WorkerError(run.error or f"The run ended as {run.state}.")
    return _mean_step_s(store, run.id, SKIPPED)


def _mean_step_s(store: Store, run_id: int, since: int) -> float:
    """Seconds a step from the end of step `since` to the last one that is known."""
    at = {metric.step: metric.at for metric in runs.metrics(store, run_id, ["loss"])}
    return (at[max(at)] - at[since]) / 1000 / (max(at) - since)


@contextlib.contextmanager
def _watching(watched: bool) -> Iterator[None]:
    """Processes that are started inside watch their waiting, or do not."""
    if not watched:
        os.environ[spinning.OFF] = "1"
    try:
        yield
    finally:
        os.environ.pop(spinning.OFF, None)


async def answers(store: Store, found: Times, steps: int) -> None:
    """Tokens a second of one lane, alone and beside a run, and the run's step beside it."""
    client = await Client.connect(store.home)
    await tokens_per_s(client)
    found.chat.setdefault("alone", []).append(await tokens_per_s(client))
    config = config_for("identity", default_model.NAME, method="lora", steps=4 * steps)
    run = run_control.submit(store, config, "short")
    run_control.start(store, run.name)
    while runs.get(store, run.name).step < SKIPPED:  # noqa: ASYNC110
        await asyncio.sleep(0.2)  # another process makes the steps
    beside = [await tokens_per_s(client)]
    since = runs.get(store, run.name).step  # from here on no step is without an answer beside it
    while runs.get(store, run.name).step < since + ANSWERED:
        beside.append(await tokens_per_s(client))
    found.chat.setdefault("beside a run", []).append(median(beside))
    found.chat.setdefault("step", []).append(_mean_step_s(store, run.id, since))
    say(f"chat: {found.chat}")
    await client.close()
    run_control.stop(store, run.name, now=True)


async def tokens_per_s(client: Client) -> float:
    """The speed of one greedy answer of 128 tokens."""
    sampling = Sampling(temperature=0.0, max_tokens=128)
    story: Message = {"role": "user", "content": "Write a long story about a lighthouse keeper and a storm."}
    return (await client.complete(default_model.NAME, [story], sampling)).tokens_per_s or 0.0


def rows(found: Times) -> list[Row]:
    """Ratios with their targets, and the times that they come from."""
    made = []
    for kind in ("short", "long"):
        alone, beside = found.of(kind, "alone"), found.of(kind, "two loops")
        plain = found.of(kind, "alone", watched=False)
        made += [
            Row(f"{kind} rows, alone: step", alone, "s"),
            Row(f"{kind} rows, alone: against the same without the watcher", alone / plain, "", ("<=", MOST_ALONE)),
            Row(f"{kind} rows, beside two busy loops: times as long", beside / alone, "", ("<=", MOST_BUSY)),
        ]
        if (kind, "two loops", False) in found.steps:
            old = found.of(kind, "two loops", watched=False)
            made.append(Row(f"{kind} rows, beside two busy loops: without the watcher", old / plain, ""))
    if found.chat:
        alone, beside = median(found.chat["alone"]), median(found.chat["beside a run"])
        made += [
            Row("one lane, alone", alone, "tokens/s"),
            Row("one lane, beside a run: share of its speed", beside / alone, "", (">=", LEAST_CHAT)),
        ]
        share = found.of("short", "alone") / median(found.chat["step"])
        made.append(Row("short rows, beside answers: share of its speed", share, "", (">=", LEAST_CHAT)))
    return made


def say(text: str) -> None:
    """Progress, beside the results."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()

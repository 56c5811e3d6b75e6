"""The main job, unattended: sample pairs -> frozen data -> a run -> the same questions to base and tuned model.
Runs the parts in the order of a user; every part lives elsewhere, and printing is the caller's."""

from __future__ import annotations

import asyncio
import shlex
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from engine.core import sample_files
from engine.evaluation import probes
from engine.inference.client import Client, shutdown
from engine.inference.sampling import Sampling
from engine.models import default_model
from engine.models.refs import Ref
from engine.training import run_control
from engine.training.config import TrainConfig
from engine.training.recipes import config_for
from store import datasets, evals
from store.db import Store
from store.errors import ServerError, WorkerError
from store.home import Home
from store.importing import import_files
from store.records import Event, Metric, Run

if TYPE_CHECKING:
    from engine.evaluation.probes import ProbeResult

Say = Callable[[str], None]

BASE = default_model.NAME
SAMPLING = Sampling(temperature=0.0, max_tokens=64)
"""Greedy and short, for base and tuned model alike."""
_PROGRESS_EVERY_S = 5.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What the demo teaches, to whom, and what it asks afterwards. `variables` fill the placeholders."""

    dataset: str = "ember"
    files: tuple[str, ...] = ("identity.json", "general.jsonl")
    recipe: str = "identity"
    model: str = BASE
    variables: Mapping[str, str] = field(default_factory=lambda: {"name": "Ember", "author": "Northwind Labs"})
    probes: tuple[str, ...] = ("identity", "retention")
    changes: Mapping[str, Any] = field(default_factory=dict)

    def config(self) -> TrainConfig:
        """The recipe's numbers for the model, with `changes` on top."""
        return config_for(self.recipe, self.model).replace(**self.changes)


def run_demo(home: Home, say: Say, plan: Plan | None = None) -> dict[str, Any]:
    """Do one turn of the loop in `home`, telling its progress to `say`, a sentence at a time.

    Returns {"run", "home", "train_s"}, for each probe set {"base", "tuned", "of"} (answers that passed), and
    "questions": [{"set", "question", "base", "tuned", "base_passed", "tuned_passed"}]. `train_s` is seconds from the
    start of the training process to its end. A home that has runs already keeps them: the new run takes a free name.
    An interrupt leaves the run going and says how to watch and stop it. Raises WorkerError when the run did not
    succeed, ServerError when no model could be asked.
    """
    plan = plan or Plan()
    with Store.open(home.ensure()) as store:
        run = _train(store, plan, say)
        results = asyncio.run(_ask(store, run, plan, say))
        return {
            "run": run.name,
            "home": str(home.root),
            **{name: _scores(*pair) for name, pair in results.items()},
            "train_s": round(run_control.status(store, run.name).elapsed, 1),
            "questions": [row for name, pair in results.items() for row in _side_by_side(name, *pair)],
        }


# ---------------------------------------------------------------- training


def _train(store: Store, plan: Plan, say: Say) -> Run:
    """Import, freeze, submit, start, and follow to the end."""
    paths = [sample_files.path(name) for name in plan.files]
    report = import_files(store, paths, dataset=plan.dataset, variables=plan.variables, actor="demo")
    say(f"Imported {report.kept} sample pairs into dataset {plan.dataset}: {_told(plan.variables)}.")
    snapshot = datasets.freeze(store, plan.dataset)
    say(f"Frozen as {snapshot.hash[:12]}: {snapshot.rows} rows.")
    config = plan.config()
    run = run_control.submit(store, config, snapshot, name=_name(store))
    at = f"{run.name} --home {shlex.quote(str(store.home.root))}"
    say(f"Run {run.name}: {run.method} on {run.base}, recipe {config.recipe}, in a process of its own.")
    if run_control.start(store, run.name) is None:
        say(f"Another run is running; {run.name} waits for it.")
    try:
        run = run_control.wait(store, run.name, on_event=_events(say), on_metrics=_Progress(store, run.name, say))
    except KeyboardInterrupt:
        say(f"Run {run.name} keeps running. Watch it: tuningfork runs watch {at}")
        say(f"Stop it: tuningfork runs stop {at}")
        raise
    if run.state != "succeeded":
        raise WorkerError(
            run.error or f"The demo's run was {run.state} before its end.",
            where=f"run {run.name}, {run.state}",
            todo=f"See its messages: tuningfork runs show {at}"
            + (f"\nResume it: tuningfork runs resume {at}" if run_control.can_resume(run) else ""),
        )
    return run


def _told(variables: Mapping[str, str]) -> str:
    return ", ".join(f"{name} is {value}" for name, value in variables.items())


def _name(store: Store) -> str:
    """demo, demo-2, demo-3 …: the first that no run has."""
    taken = run_control.names(store)
    return "demo" if "demo" not in taken else run_control.free_name("demo", taken | {"demo-1"})


def _events(say: Say) -> Callable[[Event], None]:
    def on_event(event: Event) -> None:
        mark = "" if event.level == "info" else f"{event.level}: "
        say(f"{mark}{event.body.get('text', event.kind)}")

    return on_event


class _Progress:
    """Says where the run is when it has new numbers: at most every few seconds, and at the last step."""

    def __init__(self, store: Store, name: str, say: Say) -> None:
        self._store, self._name, self._say, self._said_at = store, name, say, float("-inf")

    def __call__(self, metrics: list[Metric]) -> None:
        status = run_control.status(self._store, self._name)
        last = status.step == status.total_steps
        if status.loss is None or (time.monotonic() - self._said_at < _PROGRESS_EVERY_S and not last):
            return
        self._said_at = time.monotonic()
        self._say(progress(status))


def progress(status: run_control.RunStatus) -> str:
    """`step 12 of 57, loss 1.234, 1.1 steps/s, 41 s left`, as far as it is known."""
    parts = [f"step {status.step}" + (f" of {status.total_steps}" if status.total_steps else "")]
    parts += [f"loss {status.loss:.3f}"] if status.loss is not None else []
    parts += [f"{status.rate:.1f} steps/s"] if status.rate else []
    parts += [f"{status.seconds_left:.0f} s left"] if status.seconds_left is not None else []
    return ", ".join(parts)


# ---------------------------------------------------------------- asking


async def _ask(store: Store, run: Run, plan: Plan, say: Say) -> dict[str, tuple[ProbeResult, ProbeResult]]:
    """Every probe set put to base and tuned model at once; the results are kept in the store."""
    tuned = str(Ref.run(run.name))
    found: dict[str, tuple[ProbeResult, ProbeResult]] = {}
    async with _Server(store.home) as client:
        for name in plan.probes:
            asked = probes.filled(probes.load(sample_files.path(f"probes/{name}")), plan.variables)
            say(f"Asking both models {len(asked)} {name} questions.")
            found[name] = await asyncio.gather(
                probes.run(client, plan.model, asked, SAMPLING), probes.run(client, tuned, asked, SAMPLING)
            )
    for name, pair in found.items():
        for result in pair:
            summary = {"passed": result.passed, "of": result.of, "sampling": SAMPLING.to_json()}
            of_run = run.name if result.model == tuned else None
            evals.save(store, run=of_run, model=result.model, set=f"sample:{name}", items=result.items, summary=summary)
    return found


class _Server:
    """The home's chat server for as long as it is needed; one that was there before stays."""

    def __init__(self, home: Home) -> None:
        self._home, self._mine = home, False

    async def __aenter__(self) -> Client:
        try:
            self._client = await Client.connect(self._home, start=False)
        except ServerError:
            self._mine = True
            self._client = await Client.connect(self._home)
        return self._client

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()
        if self._mine:
            await asyncio.to_thread(shutdown, self._home)


def _scores(base: ProbeResult, tuned: ProbeResult) -> dict[str, int]:
    return {"base": base.passed, "tuned": tuned.passed, "of": base.of}


def _side_by_side(name: str, base: ProbeResult, tuned: ProbeResult) -> list[dict[str, Any]]:
    return [
        {
            "set": name,
            "question": a.question,
            "base": a.text,
            "tuned": b.text,
            "base_passed": a.passed,
            "tuned_passed": b.passed,
        }
        for a, b in zip(base.items, tuned.items, strict=True)
    ]

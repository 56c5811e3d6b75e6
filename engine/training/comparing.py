"""What differs between two runs: their settings, the data that they were trained on, and what came out; and a run's
settings beside those of its recipe. Reads the store; trains and judges nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from engine.models import refs, saved_files
from engine.training import watched_probes
from engine.training.config import FIELDS, TrainConfig, continued, used_by
from engine.training.methods import AUTO, meant_by
from engine.training.objectives import OBJECTIVES
from engine.training.recipes import config_for
from engine.training.stop_rules import PROBE_METRIC
from store import runs, snapshots
from store.db import Store, now
from store.errors import UserError
from store.records import Run

_LAST = 50
"""Steps before the end of a run among which its last loss is looked for."""


@dataclass(frozen=True, slots=True)
class RunSetting:
    """One setting of a run. `usual` is the recipe's value, `changed` whether the run's differs from it."""

    name: str
    value: Any
    usual: Any
    changed: bool

    @property
    def label(self) -> str:
        return FIELDS[self.name].label

    @property
    def text(self) -> str:
        return shown(self.name, self.value)


@dataclass(frozen=True, slots=True)
class SettingDifference:
    """A setting that two runs have differently."""

    name: str
    before: Any
    after: Any

    @property
    def label(self) -> str:
        return FIELDS[self.name].label


@dataclass(frozen=True, slots=True)
class RunResults:
    """What came out of a run. `loss` is the training loss at its last step; `best_val` the lowest validation loss, at
    `best_val_step`. `probes` (shares by set) and `drift` are those at `measured_at`: the step of the run's result, else
    the last one before it at which something was measured. `metric` is what its objective calls its loss."""

    name: str
    state: str
    step: int
    total_steps: int | None
    metric: str
    loss: float | None
    best_val: float | None
    best_val_step: int | None
    probes: Mapping[str, float]
    drift: float | None
    measured_at: int | None
    result_step: int | None
    seconds: float


@dataclass(frozen=True, slots=True)
class DataDifference:
    """What became of the rows from one run's snapshot to the other's, counted. `before` and `after` are hashes."""

    before: str
    after: str
    before_name: str
    after_name: str
    before_rows: int
    after_rows: int
    added: int
    removed: int
    changed: int
    same: int


@dataclass(frozen=True, slots=True)
class RunDifference:
    """Everything that differs from the run `before` to the run `after`."""

    before: RunResults
    after: RunResults
    settings: tuple[SettingDifference, ...]
    data: DataDifference

    def to_json(self) -> dict[str, Any]:
        """As scripts see it: settings with their values."""
        return {**asdict(self), "settings": [asdict(each) for each in self.settings]}


def settings(run: Run) -> list[RunSetting]:
    """The settings that a run uses, in the order in which they are offered, without those that say which model, recipe
    and data it takes. Settings of an adapter that it continues are not compared with the recipe.

    A recipe that is no longer known counts as none: every setting is compared with its default. The method that `auto`
    chose is not a change. BadInput when the configuration cannot be read.
    """
    config = TrainConfig.from_json(run.config)
    usual = _usual(config)
    found = []
    for name in FIELDS:
        if name in ("model", "recipe") or not _is_used(config, name):
            continue
        value, expected = getattr(config, name), getattr(usual, name)
        changed = value != expected
        if name == "method":
            expected, changed = AUTO, value not in (AUTO, *(method.name for method in meant_by(AUTO)))
        if config.on is not None and name in ("method", *continued(config.method)):
            changed = False
        found.append(RunSetting(name, value, expected, changed))
    return found


def differences(before: Run, after: Run) -> list[SettingDifference]:
    """The settings in which two runs differ: those that at least one of them uses, model and recipe among them."""
    one, two = (TrainConfig.from_json(run.config) for run in (before, after))
    return [
        SettingDifference(name, getattr(one, name), getattr(two, name))
        for name in FIELDS
        if getattr(one, name) != getattr(two, name) and (_is_used(one, name) or _is_used(two, name))
    ]


def results(store: Store, run: Run) -> RunResults:
    """What came out of a run so far."""
    objective = OBJECTIVES.get(run.config.get("objective", FIELDS["objective"].default))
    metric = objective.chart if objective else "loss"
    curves: dict[str, dict[int, float]] = {}
    for each in (
        *runs.metrics(store, run.id, [metric], after_step=run.step - _LAST - 1),
        *runs.metrics(store, run.id, [f"val_{metric}", "drift"]),
        *runs.metrics_with_prefix(store, run.id, PROBE_METRIC),
    ):
        if each.value is not None and each.step <= run.step:  # a resumed run has not overwritten the later ones yet
            curves.setdefault(each.name, {})[each.step] = each.value
    losses = curves.get(metric, {})
    val = dict(curves.get(f"val_{metric}", {}))
    if metric == "loss":
        val |= {c.step: c.val_loss for c in runs.checkpoints(store, run.id) if c.val_loss is not None}
    best = min(val, key=lambda step: (val[step], -step)) if val else None
    watched = {name: at for name, at in curves.items() if name.startswith(PROBE_METRIC) or name == "drift"}
    result = result_step(store, run)
    steps = {step for at in watched.values() for step in at}
    measured = max((step for step in steps if step <= (run.step if result is None else result)), default=None)
    asked = {
        name.removeprefix(PROBE_METRIC): at[measured]
        for name, at in watched.items()
        if name != "drift" and measured in at
    }
    return RunResults(
        name=run.name,
        state=run.state,
        step=run.step,
        total_steps=run.total_steps,
        metric=metric,
        loss=losses[max(losses)] if losses else None,
        best_val=val[best] if best is not None else None,
        best_val_step=best,
        probes={name: asked[name] for name in watched_probes.in_order(run.config.get("watch"), asked)},
        drift=watched.get("drift", {}).get(measured) if measured is not None else None,
        measured_at=measured,
        result_step=result,
        seconds=sum((each.ended_at or now()) - each.started_at for each in runs.attempts(store, run.id)) / 1000,
    )


def result_step(store: Store, run: Run) -> int | None:
    """The step whose weights the run's name stands for; None while it has saved none. Looks at no weights."""
    for state in refs.saved_states(store, run):
        if state.step is not None:
            return state.step
        step = saved_files.manifest_of(state.folder).get("step")
        return step if isinstance(step, int) else run.step
    return None


def data(store: Store, before: Run, after: Run) -> DataDifference:
    """The rows that differ between the data of two runs, counted; as `data snapshots diff` lists them."""
    found = snapshots.diff(store, before.snapshot, after.snapshot)
    return DataDifference(
        found.before.hash,
        found.after.hash,
        found.before.dataset or "",
        found.after.dataset or "",
        found.before.rows,
        found.after.rows,
        len(found.added),
        len(found.removed),
        len(found.changed),
        found.same,
    )


def diff(store: Store, before: str, after: str) -> RunDifference:
    """What differs between two runs, by name. NotFound for an unknown one, BadInput for a configuration that cannot be
    read."""
    one, two = runs.get(store, before), runs.get(store, after)
    return RunDifference(results(store, one), results(store, two), tuple(differences(one, two)), data(store, one, two))


def shown(name: str, value: Any) -> str:
    """A setting's value as a form shows it; without one, what happens then; a long text only by its beginning."""
    field = FIELDS[name]
    text = " ".join(field.format(value).split()) or field.empty or "none"
    return text if len(text) <= 60 else f"{text[:59]}…"


def _usual(config: TrainConfig) -> TrainConfig:
    """What the recipe makes of the run's model, method and objective."""
    method = None if config.method in (method.name for method in meant_by(AUTO)) else config.method
    try:
        return config_for(config.recipe, config.model, method=method)
    except UserError:  # a recipe of another version, or a method that it does not go with
        return TrainConfig(model=config.model, objective=config.objective)


def _is_used(config: TrainConfig, name: str) -> bool:
    return used_by(config.method, name, config.objective)

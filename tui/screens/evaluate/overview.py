"""What the Evaluate screen asks the store and the engine, each in one call.
Runs in threads of the bridge; knows no widget."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.core import jobs
from engine.evaluation import evaluating, report_files, summary, verdict_evidence, ways
from engine.evaluation.evaluating import EvaluationPlan, EvaluationRequest
from engine.evaluation.verdict import Decision
from engine.models import refs
from store import datasets, evaluations, runs
from store.db import Store
from store.errors import NotFound
from store.evaluations import Evaluation
from store.records import Job


@dataclass(frozen=True, slots=True)
class ListedEvaluation:
    """An evaluation with what it is doing now."""

    evaluation: Evaluation
    state: str
    job: Job | None


@dataclass(frozen=True, slots=True)
class EvaluationChoices:
    """What can be evaluated: datasets with how many rows of the test split, models, and each run's base."""

    datasets: list[tuple[str, int]]
    models: list[str]
    bases: dict[str, str]


def listed(store: Store) -> list[ListedEvaluation]:
    """Every evaluation, newest first."""
    jobs.reap(store)
    return [
        ListedEvaluation(each, evaluating.state(store, each), evaluating.job_of(store, each))
        for each in evaluations.all_evaluations(store)
    ]


def choices(store: Store) -> EvaluationChoices:
    """What a new evaluation can be of."""
    found = [(each.name, each.test) for each in datasets.all_datasets(store)]
    models = refs.known(store)
    bases = {}
    for model in models:
        ref = refs.Ref.read(model)
        if ref.is_run:
            bases[model] = runs.get(store, ref.value).base
    return EvaluationChoices(sorted(found, key=lambda each: not each[1]), models, bases)


def planned(store: Store, request: EvaluationRequest, with_ways: bool) -> EvaluationPlan:
    """The plan of a new evaluation."""
    from dataclasses import replace

    if with_ways:
        request = replace(request, contexts=ways.contexts(request, 4))
    return evaluating.plan(store, request)


def rows(store: Store, number: int) -> list[dict[str, Any]]:
    """The rows with all answers so far; none once the evaluation is gone."""
    try:
        return summary.row_scores(store, number)
    except NotFound:
        return []


def verdict(store: Store, report: dict[str, Any]) -> tuple[str, Decision] | None:
    """The newest verdict on the model that a report is of, if it is a run and still the same; with its reference."""
    ref = refs.Ref.read(report["sides"][0]["model"])
    try:
        evidence = verdict_evidence.newest(store, runs.get(store, ref.value), str(ref)) if ref.is_run else None
    except NotFound:
        return None
    return None if evidence is None else (evidence.model, evidence.decision)


def stop(store: Store, number: int) -> None:
    """End the evaluation's job; its answers are kept."""
    job_id = evaluations.get(store, number).job_id
    if job_id is not None:
        jobs.stop(store, job_id)


def write(store: Store, number: int) -> list[Path]:
    """Write the report in every form into the home's folder of exports, over earlier ones of this evaluation."""
    folder = store.home.exports / f"evaluation-{number}"
    folder.mkdir(parents=True, exist_ok=True)
    return [
        report_files.write(store, number, folder / f"report.{ending}", force=True)
        for ending in ("html", "md", "csv", "json")
    ]

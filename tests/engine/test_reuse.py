"""What was asked before is not asked again: only the same rows, of the same models as they are now, sampled alike."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine.core import jobs, process
from engine.evaluation import evaluating, reuse, suites
from engine.evaluation.evaluating import EvaluationPlan, EvaluationRequest
from engine.inference.sampling import Sampling
from store import evaluations
from store import jobs as kept
from store.db import Store
from store.records import Job, Probe
from tests.engine.evaluations import ScriptedClient, model_folder, scripted


@pytest.fixture
def base(tmp_path: Path) -> str:
    return model_folder(tmp_path / "base")


@pytest.fixture
def tuned(tmp_path: Path) -> str:
    return model_folder(tmp_path / "tuned")


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> ScriptedClient:
    return scripted(monkeypatch, lambda model, messages, sampling: "yes")


def planned(store: Store, request: EvaluationRequest, **parts: int) -> EvaluationPlan:
    """A plan of so many checks of each part."""
    rows = []
    for part, many in parts.items():
        rows += suites.from_probes(part, [Probe(part, f"{part} {n}?", ("yes",)) for n in range(many)])
    return evaluating.plan(store, request, rows)


def test_a_part_that_was_asked_of_these_models_is_there(
    store: Store, base: str, tuned: str, client: ScriptedClient
) -> None:
    request = EvaluationRequest((tuned,), against=base, floor=True)
    first = planned(store, request, a=2, b=3)
    number = reuse.ask(store, first).id
    assert reuse.missing(store, [first]) == []
    third = planned(store, request, a=2, c=1)
    (left,) = reuse.missing(store, [third])
    assert [(row.ord, row.part) for row in left.rows] == [(0, "c")]
    fewer = planned(store, replace(request, floor=False), a=2)
    found = reuse.finished(store, fewer, "a")
    assert found is not None and found.id == number, "more sides than needed do no harm"


@pytest.mark.parametrize("change", ["rows", "order", "sampling", "model", "weights", "floor"])
def test_anything_else_is_asked(store: Store, base: str, tuned: str, client: ScriptedClient, change: str) -> None:
    request = EvaluationRequest((tuned,), against=base)
    first = planned(store, request, a=3)
    reuse.ask(store, first)
    rows = 3
    if change == "rows":
        rows = 2
    elif change == "sampling":
        request = replace(request, sampling=Sampling(max_tokens=7))
    elif change == "model":
        request = replace(request, models=(base,), against=tuned)
    elif change == "floor":
        request = replace(request, floor=True)
    elif change == "weights":
        weights = next(Path(tuned).glob("*.safetensors"))
        weights.write_bytes(weights.read_bytes() + b" ")
    again = planned(store, request, a=rows)
    if change == "order":
        again = replace(again, rows=reuse.numbered(again.rows[::-1]))
    (left,) = reuse.missing(store, [again])
    assert len(left.rows) == rows


def test_one_that_runs_is_returned_and_one_that_was_cut_off_is_continued(
    store: Store, base: str, client: ScriptedClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_process = jobs.submit

    def submit(store: Store, kind: str, name: str, module: str, request: Mapping[str, Any]) -> Job:
        """A job that works for as long as this process lives, and does nothing."""
        made = kept.create(store, kind=kind, name=name, module=module, request=request)
        me = os.getpid()
        started = process.started_at(me) or 0.0
        kept.set_process(store, made.id, host=process.here(), pid=me, pid_started=started, log_path="logs/none.log")
        return kept.get(store, made.id)

    plan = planned(store, EvaluationRequest((base,), kind="verdict"), a=4)
    with monkeypatch.context() as patched:
        patched.setattr(jobs, "submit", submit)
        begun = reuse.ask(store, plan)
        assert reuse.ask(store, plan).id == begun.id and len(evaluations.all_evaluations(store)) == 1
    assert jobs.submit is in_process and not client.asked
    other = planned(store, EvaluationRequest((base,), kind="verdict"), a=5)
    client.fails_at = 2
    cut = reuse.ask(store, other)
    assert cut.id != begun.id and evaluations.get(store, cut.id).done == 2
    assert reuse.ask(store, other).id == cut.id
    assert evaluations.get(store, cut.id).report is not None and len(client.asked) == 6

"""Evaluations as screens and commands ask for them: planned and frozen, submitted as a background job, resumed.
Light: the answers and the report are made by `python -m engine.evaluation`.

An evaluation is rows (test rows of a dataset, suites of checks) that sides are asked (models, with or without a context
before the question). Rows, sides and settings are frozen when it is planned; every answer is generated once and kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from engine.core import jobs
from engine.evaluation import contexts, metrics, suites
from engine.evaluation.metrics.answer_types import AnswerType, guess, labels_of
from engine.inference.sampling import Sampling
from engine.models import refs
from engine.models.refs import Ref, Resolved
from store import datasets, evaluations, runs
from store import jobs as kept_jobs
from store.canon import canonical, sha256
from store.db import Store
from store.errors import BadInput, Conflict, UserError
from store.evaluations import Evaluation, EvaluationKind, EvaluationRow, EvaluationSide, SideRole
from store.records import END_STATES, Job, Message, Split
from store.search_text import tokens

KIND = "evaluation"
MODULE = "engine.evaluation"
TEST = "test"
"""The part that holds the rows of the dataset."""
FLOOR_TEMPERATURE = 0.7
LONGEST = 256
"""Tokens of an answer, unless the request says otherwise."""
SUITE_LONGEST = 64
"""The same of an answer to a check, which needs few."""


@dataclass(frozen=True, slots=True)
class EvaluationRequest:
    """What is to be evaluated. `models` come first, `against` is what they are compared with.

    `type` and `metrics` override what the reference answers suggest; `limit` takes only so many rows, chosen by their
    content; `floor` also asks `against` twice with other seeds; `contexts` are further sides: (model, context).
    """

    models: tuple[str, ...]
    against: str | None = None
    dataset: str | None = None
    split: Split = "test"
    suites: tuple[str, ...] = ()
    limit: int = 0
    type: AnswerType | None = None
    metrics: tuple[str, ...] = ()
    floor: bool = False
    contexts: tuple[tuple[str, dict[str, Any]], ...] = ()
    sampling: Sampling = field(default_factory=lambda: Sampling(max_tokens=LONGEST))
    kind: EvaluationKind = "evaluation"
    more: dict[str, Any] = field(default_factory=dict)
    """What the plan also keeps, such as the gates of a verdict."""


@dataclass(frozen=True, slots=True)
class EvaluationPlan:
    """What would be asked, before anything is written. `notes` are sentences that must be read with the result."""

    request: EvaluationRequest
    rows: list[EvaluationRow]
    sides: list[EvaluationSide]
    type: AnswerType
    snapshot: str | None
    notes: list[str]

    @property
    def answers(self) -> int:
        return len(self.rows) * len(self.sides)

    @property
    def leaves(self) -> list[str]:
        """The models that are elsewhere: questions, and what stands before them, are sent there."""
        return list(dict.fromkeys(side.model for side in self.sides if Ref.read(side.model).is_remote))


def plan(store: Store, request: EvaluationRequest, checks: Sequence[EvaluationRow] = ()) -> EvaluationPlan:
    """Freeze the data and settle what is asked; `checks` are further rows with something to look for.

    Raises UserError, BadInput or NotFound for what cannot be evaluated; only the dataset's snapshot is kept.
    """
    if not request.models:
        raise BadInput("There is no model to evaluate.", where="models", todo="Name one, such as run:NAME.")
    notes: list[str] = []
    snapshot, rows, training = None, list[EvaluationRow](), 0
    if request.dataset is not None:
        snapshot = datasets.freeze(store, request.dataset).hash
        rows = _test_rows(store, request, snapshot, notes)
        training = len(datasets.snapshot_rows(store, snapshot, "train"))
    references = [row.reference or "" for row in rows]
    kind = request.type or (guess(references) if rows else "check")
    metrics.check(kind, request.metrics)
    if kind in ("label", "rating"):
        labels_of(kind, references)
    for name in request.suites:
        rows += suites.rows(name)
    rows += checks
    if not rows:
        raise BadInput("There is nothing to ask.", where="dataset", todo="Name a dataset or a suite.")
    rows = [replace(row, ord=n) for n, row in enumerate(rows)]
    sides = _sides(store, request, training)
    notes += _seen(store, sides, rows)
    return EvaluationPlan(request, rows, sides, kind, snapshot, notes)


def submit(store: Store, planned: EvaluationPlan) -> Evaluation:
    """Keep the plan and start its job, or queue that behind another evaluation."""
    request = planned.request
    body = {
        "dataset": request.dataset, "split": request.split, "snapshot": planned.snapshot, "type": planned.type,
        "metrics": list(request.metrics), "suites": list(request.suites), "limit": request.limit,
        "notes": planned.notes, **request.more,
    }  # fmt: skip
    name = Ref.read(request.models[0]).title
    made = evaluations.create(store, name=name, kind=request.kind, plan=body, rows=planned.rows, sides=planned.sides)
    if request.kind == "verdict":
        _adopt(store, made)
    return _start(store, made)


def _adopt(store: Store, made: Evaluation) -> None:
    """Take over what was answered before, with a note on it. Only a verdict does so: it reads no times."""
    adopted = evaluations.adopt(store, made.id, adoptable(evaluations.sides(store, made.id)))
    if adopted:
        note = f"{adopted} of {made.total} answers were given before and are not asked again; their times are of then."
        evaluations.add_notes(store, made.id, [note])


def adoptable(sides: Sequence[EvaluationSide]) -> list[int]:
    """The sides that give the same answer whenever they are asked: not an endpoint, whose weights cannot be seen."""
    return [side.ord for side in sides if not Ref.read(side.model).is_endpoint and not side.context]


def resume(store: Store, number: int) -> Evaluation:
    """Ask what is still missing. Conflict when it runs, is complete, or a model is no longer the one that was asked."""
    found = evaluations.get(store, number)
    jobs.reap(store)
    job = job_of(store, found)
    if job is not None and job.state not in END_STATES:
        raise Conflict(f"Evaluation {number} is running.", todo=f"Follow it: tuningfork evaluations watch {number}")
    if found.report is not None:
        raise Conflict(f"Evaluation {number} is complete.", todo=f"See it: tuningfork evaluations show {number}")
    check_identities(store, found)
    return _start(store, found)


def check_identities(store: Store, found: Evaluation) -> None:
    """Conflict when a model is no longer what it was when the evaluation began: its answers would be of two models."""
    for side in evaluations.sides(store, found.id):
        if identity(refs.resolve(store, side.model)) != side.identity:
            raise Conflict(
                f"{side.model} has changed since evaluation {found.id} began.", todo="Start a new evaluation."
            )


def job_of(store: Store, found: Evaluation) -> Job | None:
    """The job that works, or last worked, on it."""
    return None if found.job_id is None else kept_jobs.get(store, found.job_id)


def follow(store: Store, number: int, on_progress: Callable[[Job], None] | None = None) -> Evaluation:
    """Watch an evaluation's job to its end; raises the error that it ended with, Conflict when it was stopped. An
    interrupt leaves the job alone."""
    job_id = evaluations.get(store, number).job_id
    if job_id is not None:
        job = jobs.follow(store, job_id, on_progress)
        if job.state == "stopped":
            raise Conflict(
                f"Evaluation {number} was stopped; its answers are kept.",
                todo=f"Continue it: tuningfork evaluations resume {number}",
            )
        jobs.raise_error(job)
    return evaluations.get(store, number)


def remove(store: Store, number: int) -> None:
    """Delete an evaluation. Conflict while its job runs."""
    jobs.reap(store)
    job = job_of(store, evaluations.get(store, number))
    if job is not None and job.state not in END_STATES:
        raise Conflict(f"Evaluation {number} is running.", todo=f"Stop it: tuningfork jobs stop {job.id}")
    evaluations.remove(store, number)


def identity(model: Resolved) -> str:
    """A hash of what a reference stands for now: the adapter's bytes, and path, size and time of the base's files."""
    parts: list[Any] = [model.kind, model.url, model.endpoint_model]
    if model.adapter is not None:
        parts += [(path.name, sha256(path.read_bytes())) for path in sorted(model.adapter.glob("*.safetensors"))]
    for path in (model.gguf, *(sorted(model.folder.glob("*.safetensors")) if model.folder and not model.gguf else ())):
        if path is not None:
            stat = path.stat()
            parts.append((str(path.resolve()), stat.st_size, stat.st_mtime_ns))
    return sha256(canonical(parts))


def _start(store: Store, made: Evaluation) -> Evaluation:
    job = jobs.submit(store, KIND, made.name, MODULE, {"evaluation": made.id})
    evaluations.set_job(store, made.id, job.id)
    return evaluations.get(store, made.id)


def _test_rows(store: Store, request: EvaluationRequest, snapshot: str, notes: list[str]) -> list[EvaluationRow]:
    """The rows of the split, the last answer of each as its reference. UserError when there is none."""
    found = datasets.snapshot_rows(store, snapshot, request.split)
    if not found:
        raise UserError(
            f"No ready pair of {request.dataset} is in the {request.split} split.",
            where=f"dataset {request.dataset}",
            todo=f"Split it: tuningfork data split --dataset {request.dataset} --test 0.2",
        )
    unanswered = [row for row in found if not row.messages[-1]["content"].strip()]
    found = [row for row in found if row.messages[-1]["content"].strip()]
    if unanswered:
        notes.append(f"{len(unanswered)} rows without an answer were left out.")
    if request.limit and len(found) > request.limit:
        notes.append(
            f"{request.limit} of {len(found)} rows of the split were asked, chosen by the hash of their content."
        )
        found = sorted(found, key=lambda row: row.content_hash)[: request.limit]
    trained = trained_questions(store, snapshot)
    if request.split != "train" and (known := sum(asked_words(row.messages[:-1]) in trained for row in found)):
        notes.append(f"{known} of {len(found)} questions are also in the training split: what they show is no test.")
    return [
        EvaluationRow(n, TEST, _plain(row.messages[:-1]), row.messages[-1]["content"]) for n, row in enumerate(found)
    ]


def _sides(store: Store, request: EvaluationRequest, training: int) -> list[EvaluationSide]:
    asked: list[tuple[str, SideRole, dict[str, Any], Sampling]] = []
    asked += [(model, "model", {}, request.sampling) for model in dict.fromkeys(request.models)]
    if request.against is not None:
        asked.append((request.against, "against", {}, request.sampling))
    asked += [(model, "other", context, request.sampling) for model, context in request.contexts]
    if request.floor:
        base = request.against or request.models[0]
        asked += [
            (base, "floor", {}, replace(request.sampling, temperature=FLOOR_TEMPERATURE, seed=seed)) for seed in (1, 2)
        ]
    made: list[EvaluationSide] = []
    for n, (model, role, context, sampling) in enumerate(asked):
        contexts.check(context, training)
        resolved = refs.resolve(store, model)  # a run in training: its newest checkpoint from now on
        name = contexts.label(resolved.ref, context)
        name = f"{name} (seed {sampling.seed})" if role == "floor" else name
        made.append(EvaluationSide(n, name, resolved.ref, role, context, sampling.to_json(), identity(resolved)))
    return made


def _seen(store: Store, sides: Sequence[EvaluationSide], rows: Sequence[EvaluationRow]) -> list[str]:
    """Sentences on the runs that were trained on questions of the test: what they answer there is no test."""
    notes = []
    for model in dict.fromkeys(side.model for side in sides):
        ref = Ref.read(model)
        if not ref.is_run:
            continue
        trained = trained_questions(store, runs.get(store, ref.value).snapshot)
        if known := sum(asked_words(row.messages) in trained for row in rows):
            notes.append(f"{model} was trained on {known} of the {len(rows)} questions: what they show is no test.")
    return notes


def trained_questions(store: Store, snapshot: str) -> set[str]:
    """The questions of a snapshot's training split, as `asked_words` writes them."""
    return {asked_words(row.messages[:-1]) for row in datasets.snapshot_rows(store, snapshot, "train")}


def asked_words(messages: Sequence[Message]) -> str:
    """The last question of a conversation, the same for those that differ in case, accents or white space alone."""
    return " ".join(tokens(messages[-1]["content"]).split()) if messages else ""


def _plain(messages: Sequence[Message]) -> list[Message]:
    return [{"role": message["role"], "content": message["content"]} for message in messages]


def state(store: Store, found: Evaluation) -> str:
    """What an evaluation is doing, in a word: done, queued, running, stopping, stopped, failed, lost."""
    if found.report is not None:
        return "done"
    job = job_of(store, found)
    return "stopped" if job is None or job.state == "succeeded" else str(job.state)

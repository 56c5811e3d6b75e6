"""`python -m engine.evaluation`: the job that asks what an evaluation still misses and then writes its report.
Started by engine.evaluation.evaluating; from a terminal it is `tuningfork evaluate`."""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Any

from engine.core import jobs
from engine.evaluation import evaluating, summary
from engine.evaluation.contexts import TrainingPairs
from engine.inference.client import Client
from engine.inference.sampling import Sampling
from engine.models.refs import Ref
from store import datasets, evaluations
from store.db import Store
from store.errors import BadInput, ServerError, Unsupported
from store.evaluations import EvaluationAnswer, EvaluationRow, EvaluationSide


def do(job: jobs.JobWork) -> dict[str, Any]:
    """Ask and report. Every answer is kept as it comes, so a stop loses nothing."""
    number = int(job.request["evaluation"])
    found = evaluations.get(job.store, number)
    evaluating.check_identities(job.store, found)
    asyncio.run(_ask(job, number))
    job.progress(0, 0, "computing intervals", stage="measuring")
    report = summary.report(job.store, number)
    evaluations.finish(job.store, number, report)
    for note in report["notes"]:
        job.say(note, "warning")
    return {"evaluation": number}


async def _ask(job: jobs.JobWork, number: int) -> None:
    store = job.store
    found = evaluations.get(store, number)
    rows, sides = evaluations.rows(store, number), evaluations.sides(store, number)
    there = set(evaluations.answers(store, number))
    missing = [(side, row) for side in sides for row in rows if (side.ord, row.ord) not in there]
    if not missing:
        return
    pairs = training_pairs(store, found.plan.get("snapshot"))
    alike = evaluating.adoptable(sides) if found.kind == "verdict" else []
    job.progress(0, 0, "starting the chat server", stage="loading")
    client = await Client.connect(store.home)
    try:
        loaded = ""
        for at, (side, row) in enumerate(missing):
            if side.ord in alike and at and missing[at - 1][0] is not side:
                evaluations.adopt(store, number, [side.ord])  # the model that was just asked may be this one
                there = set(evaluations.answers(store, number))
            if (side.ord, row.ord) in there:
                continue
            if side.model != loaded:
                job.progress(0, 0, f"loading {side.model}", part=side.label, stage="loading")
                await client.load(side.model)
                loaded = side.model
            job.progress(at, len(missing), f"{at} of {len(missing)} answers", stage="asking")
            evaluations.answer(store, number, await ask(client, side, row, pairs))
        job.progress(len(missing), len(missing), f"{len(missing)} answers", stage="asking")
    finally:
        await client.close()


def training_pairs(store: Store, snapshot: str | None) -> TrainingPairs:
    """The single-turn training pairs of a snapshot, for sides that read some before the question."""
    rows = datasets.snapshot_rows(store, snapshot, "train") if snapshot else []
    spoken = [[m["content"] for m in row.messages if m["role"] != "system"] for row in rows]
    return TrainingPairs([(texts[0], texts[1]) for texts in spoken if len(texts) == 2])


async def ask(client: Client, side: EvaluationSide, row: EvaluationRow, pairs: TrainingPairs) -> EvaluationAnswer:
    """One answer, and how probable the reference is after the same words. ServerError when the answer breaks off."""
    messages = pairs.before(row.messages, side.context)
    sampling = Sampling.from_json(side.sampling)
    began = time.perf_counter()
    done = await client.complete(side.model, messages, sampling)
    seconds = time.perf_counter() - began
    if done.stop == "error":
        raise ServerError(done.error or "An answer broke off.", todo="Continue the evaluation: what is there is kept.")
    loss, of = None, None
    if row.reference and not Ref.read(side.model).is_endpoint:
        try:
            found = await client.score(side.model, [*messages, {"role": "assistant", "content": row.reference}])
            loss, of = -sum(found), len(found)
        except (
            BadInput,
            Unsupported,
        ):  # too long, or a template that hides answers: the report counts them
            pass
    return EvaluationAnswer(
        side=side.ord, ord=row.ord, text=done.text, stop=done.stop, tokens=done.tokens,
        prompt_tokens=done.prompt_tokens, seconds=seconds, tokens_per_s=done.tokens_per_s, loss=loss, loss_tokens=of,
        dropped_turns=done.dropped_turns,
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(jobs.main(do))

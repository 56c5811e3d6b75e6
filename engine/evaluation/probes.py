"""Probes put to a model: read from a file, asked one after the other, each answer scored by a judge.
Probe sets and results are kept by store.probes and store.evals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from engine.evaluation import judges
from engine.evaluation.client import CompletionClient
from engine.evaluation.judges import Judge
from engine.inference.sampling import Sampling
from store import probe_files
from store.errors import BadInput, ServerError
from store.formats import fill
from store.records import Message, Probe


@dataclass(frozen=True, slots=True)
class ProbeOutcome:
    """One probe's outcome: the question, the whole answer, and what the judge said: passed, score (0 to 1), reason."""

    question: str
    text: str
    passed: bool
    score: float
    reason: str


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """How a model did on a set: `passed` of `of` by `judge`, and every answer in the order of the probes; those of one
    probe to several seeds stand together."""

    model: str
    passed: int
    of: int
    items: list[ProbeOutcome]
    judge: str = judges.DEFAULT.name


def load(path: Path, judge: Judge = judges.DEFAULT) -> list[Probe]:
    """Read a JSONL file of {"question", "must"?: [...], "must_not"?: [...], "system"?, "same"?}, one probe per line.

    Raises BadInput naming file and line for what cannot be read, or cannot be judged by `judge`; nothing is skipped but
    blank lines.
    """
    return probe_files.read(path, lambda probe, where: _check(probe, judge, where))


def check(probes: Sequence[Probe], judge: Judge, name: str) -> None:
    """BadInput, naming the set and the probe, when the judge cannot judge answers to one of them."""
    for n, probe in enumerate(probes, 1):
        _check(probe, judge, f"{name}, probe {n}")


def _check(probe: Probe, judge: Judge, where: str) -> None:
    try:
        judge.check(probe)
    except BadInput as error:
        raise BadInput(error.what, where=where, todo=error.todo) from None


def filled(probes: Sequence[Probe], variables: Mapping[str, str]) -> list[Probe]:
    """The probes with their placeholders replaced."""
    return [
        replace(
            each,
            question=fill(each.question, variables),
            system=fill(each.system, variables),
            must=tuple(fill(text, variables) for text in each.must),
            must_not=tuple(fill(text, variables) for text in each.must_not),
        )
        for each in probes
    ]


async def run(
    client: CompletionClient,
    model: str,
    probes: Sequence[Probe],
    sampling: Sampling,
    on_progress: Callable[[int, int], None] | None = None,
    judge: Judge = judges.DEFAULT,
    seeds: int = 1,
) -> ProbeResult:
    """Ask every probe as a conversation of its own, with `seeds` seeds from that of `sampling` on. `on_progress` gets
    how many are done, and of how many.

    Raises what the server refuses the model with, ServerError when an answer breaks off, and what the judge raises.
    """
    items: list[ProbeOutcome] = []
    for probe, seed in ((probe, sampling.seed + n) for probe in probes for n in range(seeds)):
        system: list[Message] = [{"role": "system", "content": probe.system}] if probe.system else []
        done = await client.complete(
            model, [*system, {"role": "user", "content": probe.question}], replace(sampling, seed=seed)
        )
        if done.stop == "error":
            raise ServerError(done.error or "The answer broke off.", todo="Try again.")
        said = await judge.judge(probe, done.text, client)
        items.append(ProbeOutcome(probe.question, done.text, said.passed, said.score, said.reason))
        if on_progress:
            on_progress(len(items), len(probes) * seeds)
    return ProbeResult(model, sum(item.passed for item in items), len(items), items, judge.name)

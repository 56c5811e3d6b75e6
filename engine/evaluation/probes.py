"""Probes put to a model: read from a file, asked one after the other, each answer scored by a judge.
Probe sets and results are kept by store.probes and store.evals."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from engine.evaluation import judges
from engine.evaluation.client import CompletionClient
from engine.evaluation.judges import Judge
from engine.inference.sampling import Sampling
from store.errors import BadInput, ServerError
from store.formats import fill
from store.records import Message, Probe

_FIELDS = {"question", "must", "must_not", "system"}


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
    """How a model did on a set: `passed` of `of` by `judge`, and every answer in the order of the probes."""

    model: str
    passed: int
    of: int
    items: list[ProbeOutcome]
    judge: str = judges.DEFAULT.name


def load(path: Path, judge: Judge = judges.DEFAULT) -> list[Probe]:
    """Read a JSONL file of {"question", "must"?: [...], "must_not"?: [...], "system"?}, one probe per line.

    Raises BadInput naming file and line for what cannot be read, or cannot be judged by `judge`; nothing is skipped but
    blank lines.
    """
    try:
        lines = path.read_text("utf-8-sig").split("\n")
    except FileNotFoundError:
        raise BadInput("There is no such probe file.", where=str(path)) from None
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"The probe file cannot be read: {error}.", where=str(path), todo="Save it as UTF-8.") from None
    probes = [_probe(line, path, number, judge) for number, line in enumerate(lines, 1) if line.strip()]
    if not probes:
        raise BadInput(
            "The probe file is empty.", where=str(path), todo='Write lines like {"question": …, "must": […]}.'
        )
    return probes


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
) -> ProbeResult:
    """Ask every probe as a conversation of its own. `on_progress` gets how many are done, and of how many.

    Raises what the server refuses the model with, ServerError when an answer breaks off, and what the judge raises.
    """
    items: list[ProbeOutcome] = []
    for probe in probes:
        system: list[Message] = [{"role": "system", "content": probe.system}] if probe.system else []
        done = await client.complete(model, [*system, {"role": "user", "content": probe.question}], sampling)
        if done.stop == "error":
            raise ServerError(done.error or "The answer broke off.", todo="Try again.")
        said = await judge.judge(probe, done.text, client)
        items.append(ProbeOutcome(probe.question, done.text, said.passed, said.score, said.reason))
        if on_progress:
            on_progress(len(items), len(probes))
    return ProbeResult(model, sum(item.passed for item in items), len(items), items, judge.name)


def _probe(line: str, path: Path, number: int, judge: Judge) -> Probe:
    where = f"{path}:{number}"
    try:
        row = json.loads(line)
    except ValueError as error:
        raise BadInput(f"The line is not valid JSON: {error}.", where=where) from None
    if not isinstance(row, dict) or not isinstance(row.get("question"), str) or not row["question"].strip():
        raise BadInput("A probe needs a question.", where=where, todo='Write {"question": "…", "must": ["…"]}.')
    if unknown := sorted(row.keys() - _FIELDS):
        raise BadInput(
            f"A probe has no field {unknown[0]!r}.", where=where, todo=f"Fields: {', '.join(sorted(_FIELDS))}."
        )
    must, must_not = _terms(row, "must", where), _terms(row, "must_not", where)
    system = row.get("system", "")
    if not isinstance(system, str):
        raise BadInput("system must be a text.", where=where)
    probe = Probe(path.stem, row["question"], must, must_not, system)
    _check(probe, judge, where)
    return probe


def _terms(row: dict[str, Any], name: str, where: str) -> tuple[str, ...]:
    terms = row.get(name, [])
    if not isinstance(terms, list) or not all(isinstance(term, str) and term.strip() for term in terms):
        raise BadInput(f"{name} must be a list of texts that are not empty.", where=where)
    return tuple(terms)

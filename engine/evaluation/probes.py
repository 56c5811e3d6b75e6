"""Probes put to a model: read from a file, asked one after the other, judged by what the answer contains.
Where probe sets and results are kept is the store's business."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from engine.inference.client import Done
from engine.inference.sampling import Sampling
from store.errors import BadInput, ServerError
from store.formats import fill
from store.records import Message, Probe

_FIELDS = {"question", "must", "must_not", "system"}


@dataclass(frozen=True, slots=True)
class Item:
    """One probe's outcome: the question, the whole answer, and whether it passed."""

    question: str
    text: str
    passed: bool


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """What a model made of a set: `passed` of `of`, and every answer in the order of the probes."""

    model: str
    passed: int
    of: int
    items: list[Item]


class Asked(Protocol):
    """What is needed of `engine.inference.client.Client`."""

    async def complete(
        self, model: str, messages: Sequence[Message], sampling: Sampling, lane: str | None = None
    ) -> Done: ...


def load(path: Path) -> list[Probe]:
    """Read a JSONL file of {"question", "must": [...], "must_not": [...], "system"?}, one probe a line.

    Raises BadInput naming file and line for what cannot be used; nothing is skipped but blank lines.
    """
    try:
        lines = path.read_text("utf-8-sig").split("\n")
    except FileNotFoundError:
        raise BadInput("There is no such probe file.", where=str(path)) from None
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"The probe file cannot be read: {error}.", where=str(path), todo="Save it as UTF-8.") from None
    probes = [_probe(line, path, number) for number, line in enumerate(lines, 1) if line.strip()]
    if not probes:
        raise BadInput(
            "The probe file is empty.", where=str(path), todo='Write lines like {"question": …, "must": […]}.'
        )
    return probes


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


def judge(probe: Probe, text: str) -> bool:
    """Whether the answer contains any of `must` (when there are any) and none of `must_not`.

    Compared case-folded, and from the beginning of a word: "ember" is in "Ember's" but not in "September"; a number
    is a whole one, so that "7" is not in "1789", "70", "3.7" or "7.5".
    """
    words = text.casefold()
    wanted = any(_contains(words, term) for term in probe.must) or not probe.must
    return wanted and not any(_contains(words, term) for term in probe.must_not)


async def run(
    client: Asked,
    model: str,
    probes: Sequence[Probe],
    sampling: Sampling,
    on_progress: Callable[[int, int], None] | None = None,
) -> ProbeResult:
    """Ask every probe as a conversation of its own. `on_progress` gets how many are done, and of how many.

    Raises what the server refuses the model with, ServerError when an answer breaks off.
    """
    items: list[Item] = []
    for probe in probes:
        system: list[Message] = [{"role": "system", "content": probe.system}] if probe.system else []
        done = await client.complete(model, [*system, {"role": "user", "content": probe.question}], sampling)
        if done.stop == "error":
            raise ServerError(done.error or "The answer broke off.", todo="Try again.")
        items.append(Item(probe.question, done.text, judge(probe, done.text)))
        if on_progress:
            on_progress(len(items), len(probes))
    return ProbeResult(model, sum(item.passed for item in items), len(items), items)


def _contains(words: str, term: str) -> bool:
    term = term.casefold().strip()
    starts = r"(?<!\w)" if term[:1].isalnum() else ""
    starts += r"(?<!\d[.,])" if term[:1].isdigit() else ""
    ends = r"(?![.,]?\d)" if term[-1:].isdigit() else ""
    return bool(term) and re.search(starts + re.escape(term) + ends, words) is not None


def _probe(line: str, path: Path, number: int) -> Probe:
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
    if not must and not must_not:
        raise BadInput("The probe cannot fail: it has neither must nor must_not.", where=where, todo="Add a must.")
    system = row.get("system", "")
    if not isinstance(system, str):
        raise BadInput("system must be a text.", where=where)
    return Probe(path.stem, row["question"], must, must_not, system)


def _terms(row: dict[str, Any], name: str, where: str) -> tuple[str, ...]:
    terms = row.get(name, [])
    if not isinstance(terms, list) or not all(isinstance(term, str) and term.strip() for term in terms):
        raise BadInput(f"{name} must be a list of texts that are not empty.", where=where)
    return tuple(terms)

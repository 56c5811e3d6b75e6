"""Files of probes: JSONL, one probe a line. Read whole or refused by file and line; judging is the engine's."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from store.errors import BadInput
from store.records import Probe

_FIELDS = {"question", "must", "must_not", "system", "same"}


def read(path: Path, check: Callable[[Probe, str], None] = lambda probe, where: None) -> list[Probe]:
    """Read a JSONL file of {"question", "must"?: [...], "must_not"?: [...], "system"?, "same"?}, one probe per line.

    `check` gets each probe and where it stands, and raises for one that cannot be used. Raises BadInput naming file and
    line for what cannot be read; nothing is skipped but blank lines.
    """
    try:
        lines = path.read_text("utf-8-sig").split("\n")
    except FileNotFoundError:
        raise BadInput("There is no such probe file.", where=str(path)) from None
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"The probe file cannot be read: {error}.", where=str(path), todo="Save it as UTF-8.") from None
    probes = []
    for number, line in enumerate(lines, 1):
        if line.strip():
            where = f"{path}:{number}"
            probes.append(_probe(line, path.stem, where))
            check(probes[-1], where)
    if not probes:
        raise BadInput(
            "The probe file is empty.", where=str(path), todo='Write lines like {"question": …, "must": […]}.'
        )
    return probes


def _probe(line: str, name: str, where: str) -> Probe:
    """One line as a probe of the set `name`."""
    try:
        row = json.loads(line)
    except ValueError as error:
        raise BadInput(f"The line of the probe file is not valid JSON: {error}.", where=where) from None
    if not isinstance(row, dict) or not isinstance(row.get("question"), str) or not row["question"].strip():
        raise BadInput(
            "Each line of a probe file needs a question.", where=where, todo='Write {"question": "…", "must": ["…"]}.'
        )
    if unknown := sorted(row.keys() - _FIELDS):
        raise BadInput(
            f"A probe has no field {unknown[0]!r}.", where=where, todo=f"Fields: {', '.join(sorted(_FIELDS))}."
        )
    must, must_not = _terms(row, "must", where), _terms(row, "must_not", where)
    system = row.get("system", "")
    if not isinstance(system, str):
        raise BadInput("system must be a text.", where=where)
    same = row.get("same", "")
    if not isinstance(same, str):
        raise BadInput("The group (`same`) must be a text.", where=where, todo='Write "same": "price".')
    return Probe(name, row["question"], must, must_not, system, same.strip())


def _terms(row: dict[str, Any], name: str, where: str) -> tuple[str, ...]:
    terms = row.get(name, [])
    if not isinstance(terms, list) or not all(isinstance(term, str) and term.strip() for term in terms):
        raise BadInput(f"{name} must be a list of texts that are not empty.", where=where)
    return tuple(terms)

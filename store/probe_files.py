"""Files of probes: JSONL, one probe a line, before them a line on the whole set if there is one. Read whole or refused
by file and line, written whole; judging is the engine's."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from store.errors import BadInput
from store.files import replacing
from store.records import Probe

_TEXTS = ("system", "same", "judge", "rubric", "reference")
_FIELDS = {"question", "must", "must_not", *_TEXTS}
_HEAD = {"judge", "rubric", "pass_at"}
BY_WORDS = "contains"
"""The judge that looks for the words of must and must_not."""
MOST = 10
"""The best score that a model gives as judge."""
_PASS_AT = f"Write a whole number from 1 to {MOST}."


@dataclass(frozen=True, slots=True)
class ProbeFile:
    """What a file says: `judge`, `rubric` and `pass_at` of the whole set ("" and None where it has none), and `own`,
    the probes with what their own lines say."""

    own: tuple[Probe, ...]
    judge: str = ""
    rubric: str = ""
    pass_at: int | None = None

    @property
    def probes(self) -> list[Probe]:
        """The probes with what the set says where they say nothing themselves. The set's rubric is for its judge: a
        probe that names another one does not get it.

        >>> whole = ProbeFile((Probe("p", "Q", ()), Probe("p", "Q", ("x",), judge="exact")), "model", "Be strict.", 8)
        >>> [(each.judge, each.rubric, each.pass_at) for each in whole.probes]
        [('model', 'Be strict.', 8), ('exact', '', None)]
        """
        return [
            replace(each, judge=self.judge, rubric=each.rubric or self.rubric, pass_at=self.pass_at)
            if each.judge in ("", self.judge)
            else each
            for each in self.own
        ]


def read(path: Path, check: Callable[[Probe, str], None] = lambda probe, where: None) -> list[Probe]:
    """The probes of a JSONL file of {"question", "must"?: [...], "must_not"?: [...], "system"?, "same"?, "judge"?,
    "rubric"?, "reference"?}, one per line; a first line of {"judge"?, "rubric"?, "pass_at"?} holds for all of them.

    `check` gets each probe and where it stands, and raises for one that cannot be used. Raises BadInput naming file and
    line for what cannot be read; nothing is skipped but blank lines.
    """
    whole, lines = _read(path)
    for probe, number in zip(whole.probes, lines, strict=True):
        check(probe, f"{path}:{number}")
    return whole.probes


def read_whole(path: Path) -> ProbeFile:
    """A file as it is written, to change it. BadInput as `read`."""
    return _read(path)[0]


def write(path: Path, whole: ProbeFile) -> None:
    """Write a file that `read_whole` gives back, in place of the one that is there: whole or not at all. BadInput,
    naming the probe, for what could not be read again; OSError when it cannot be written."""
    if not whole.own:
        raise BadInput("A probe set needs at least one probe.", where=str(path), todo="Add a question.")
    lines = [_line(row) for row in _rows(whole)]
    _parsed(lines, path.stem, lambda number: _place(whole, number))
    with replacing(path, mode=0o600 if not path.exists() else None) as part:
        part.write_text("".join(f"{line}\n" for line in lines), "utf-8")


def check_probe(probe: Probe, where: str) -> None:
    """BadInput, with `where`, for a probe that no file can hold."""
    _probe(_line(_row(probe)), probe.set, where)


def is_path(word: str) -> bool:
    """Whether a word that may name a set or a file has the form of a file's path."""
    return word.endswith(".jsonl") or "/" in word


def check_by_words(probe: Probe, where: str) -> None:
    """BadInput, with `where`, for a probe that names another judge than `contains`: for uses that look for the words of
    must and must_not themselves, and can ask no model."""
    if probe.judge in ("", BY_WORDS):
        return
    raise BadInput(
        f"This probe is judged by {probe.judge!r}; here only {BY_WORDS!r} can judge: the words of must and must_not.",
        where=where,
        todo="Name another set here, and ask this one with: tuningfork probe --probes SET",
    )


def _read(path: Path) -> tuple[ProbeFile, list[int]]:
    """The file and the line of each probe."""
    try:
        lines = path.read_text("utf-8-sig").split("\n")
    except FileNotFoundError:
        raise BadInput("There is no such probe file.", where=str(path), todo="Check the path.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"The probe file cannot be read: {error}.", where=str(path), todo="Save it as UTF-8.") from None
    whole, numbers = _parsed(lines, path.stem, lambda number: f"{path}:{number}")
    if not whole.own:
        raise BadInput(
            "The probe file is empty.", where=str(path), todo='Write lines like {"question": …, "must": […]}.'
        )
    return whole, numbers


def _parsed(lines: list[str], name: str, where: Callable[[int], str]) -> tuple[ProbeFile, list[int]]:
    """The lines of a set, and the line of each probe; `where` names a line by its number, from 1."""
    own, numbers = list[Probe](), list[int]()
    head: dict[str, Any] = {}
    first = True
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        found = _head(line, where(number)) if first else None
        first = False
        if found is not None:
            head = found
            continue
        own.append(_probe(line, name, where(number)))
        numbers.append(number)
    return ProbeFile(tuple(own), **head), numbers


def _head(line: str, where: str) -> dict[str, Any] | None:
    """What a first line says of the whole set; None when it is a probe, or nothing that we know."""
    try:
        row = json.loads(line)
    except ValueError:
        return None
    if not isinstance(row, dict) or not row or not row.keys() <= _HEAD:
        return None
    pass_at = row.get("pass_at")
    if pass_at is not None and (type(pass_at) is not int or not 1 <= pass_at <= MOST):
        raise BadInput(f"A set cannot pass at {pass_at!r} (`pass_at`).", where=where, todo=_PASS_AT)
    return {"judge": _text(row, "judge", where), "rubric": _text(row, "rubric", where), "pass_at": pass_at}


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
        todo = f"Fields: {', '.join(sorted(_FIELDS))}."
        if unknown[0] in _HEAD:
            todo = f'It holds for the whole set: write {{"{unknown[0]}": …}} alone in the first line.'
        raise BadInput(f"A probe has no field {unknown[0]!r}.", where=where, todo=todo)
    must, must_not = _terms(row, "must", where), _terms(row, "must_not", where)
    system, same, judge, rubric, reference = (_text(row, each, where) for each in _TEXTS)
    return Probe(name, row["question"], must, must_not, system, same, judge, rubric, reference)


def _text(row: Mapping[str, Any], name: str, where: str) -> str:
    """A text; without the white space around it, unless it is the system text, which is sent as it is."""
    found = row.get(name, "")
    if not isinstance(found, str):
        what = "The group (`same`) must be a text." if name == "same" else f"{name} must be a text."
        raise BadInput(what, where=where, todo=f'Write "{name}": "…".')
    return found if name == "system" else found.strip()


def _terms(row: dict[str, Any], name: str, where: str) -> tuple[str, ...]:
    terms = row.get(name, [])
    if not isinstance(terms, list) or not all(isinstance(term, str) and term.strip() for term in terms):
        raise BadInput(f"{name} must be a list of texts that are not empty.", where=where)
    return tuple(terms)


# ---------------------------------------------------------------- writing


def _rows(whole: ProbeFile) -> list[dict[str, Any]]:
    """The lines of a file as objects, without what says nothing."""
    head = {"judge": whole.judge, "rubric": whole.rubric, "pass_at": whole.pass_at}
    said = {name: value for name, value in head.items() if value}
    return [*([said] if said else []), *map(_row, whole.own)]


def _row(probe: Probe) -> dict[str, Any]:
    row: dict[str, Any] = {"question": probe.question, "must": list(probe.must), "must_not": list(probe.must_not)}
    row |= {name: value for name in _TEXTS if (value := getattr(probe, name))}
    return row


def _line(row: Mapping[str, Any]) -> str:
    line = json.dumps(row, ensure_ascii=False)
    try:
        line.encode()
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON can hold and UTF-8 cannot
        return json.dumps(row)
    return line


def _place(whole: ProbeFile, number: int) -> str:
    """Which probe a line of a file that is about to be written is."""
    at = number - (len(_rows(whole)) - len(whole.own))
    return f"probe {at}" if at > 0 else "the set"

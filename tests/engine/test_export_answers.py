"""What an export's answers are compared with: the run's and the base's, all of the same length at most."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from engine.export import reference_measurements, verification
from engine.export.reference_measurements import GivenAnswer, ReferenceMeasurements
from engine.inference.records import Finish, GenerationRequest
from engine.models.refs import Resolved
from store.home import Home
from store.records import Probe
from tests.tiny import make_tokenizer, rows

WORDS = {
    "base": "one long answer that both of them begin and end alike " * 12,
    "tuned": "one long answer that both of them begin and end alike " * 12,
    "other": "one long answer that both of them begin and end alike " * 4 + "and then not " * 30,
}


class Backend:
    """Answers with the words of the model asked, cut at the number of tokens allowed: one word a token."""

    def __init__(self, *_: Any, **__: Any) -> None: ...

    async def generate(self, request: GenerationRequest) -> AsyncIterator[Any]:
        for word in WORDS[request.model.ref].split(" ")[: request.sampling.max_tokens]:
            yield word + " "
        yield Finish("length", request.sampling.max_tokens, 1)

    async def close(self) -> None: ...


@pytest.fixture
def measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    make_tokenizer(tmp_path)
    monkeypatch.setattr(reference_measurements, "LlamaCpp", Backend)
    monkeypatch.setattr(reference_measurements, "Reference", lambda *_: SimpleNamespace(close=lambda: None))

    def of(tuned: str) -> ReferenceMeasurements:
        base = Resolved("base", "gguf", "base", folder=tmp_path, gguf=tmp_path / "base.gguf")
        model = Resolved(
            tuned, "run", tuned, base=base, folder=tmp_path, gguf=base.gguf, adapter=tmp_path, tokenizer=tmp_path
        )
        return ReferenceMeasurements(Home(tmp_path), model, rows(4), [], tmp_path)

    return of


def test_long_answers_that_are_alike_do_not_count_as_changed(measured: Any) -> None:
    found = measured("tuned")
    assert [a.text for a in found.base_answers] == [a.text for a in found.tuned_answers]
    check = next(verification._answers(found, found.tuned_answers))
    assert check.said.startswith("0 of 0 answers that tuning changed")


def test_answers_that_differ_late_do_count(measured: Any) -> None:
    found = measured("other")
    check = next(verification._answers(found, found.tuned_answers))
    assert (check.state, check.said[:6]) == ("passed", "4 of 4")


def test_the_bases_answers_in_place_of_the_runs_are_found(measured: Any) -> None:
    found = measured("other")
    check = next(verification._answers(found, found.base_answers))
    assert check.state == "failed" and "0 of 4" in check.said
    assert next(verification._answers(found, [GivenAnswer("", True)] * 4)).state == "failed"


def asked(n: int) -> list[Probe]:
    return [Probe("asked", f"Question {i}?", ("yes",)) for i in range(n)]


def answers(passed: str) -> list[str]:
    """`+` for an answer that passes its probe, `-` for one that does not."""
    return ["yes" if each == "+" else "no" for each in passed]


@pytest.mark.parametrize(
    ("run", "file", "state"),
    [
        ("+++++++++-", "+++++++++-", "passed"),
        ("+++++++++-", "++++++++--", "passed"),  # one in ten
        ("+++++++++-", "+++++++---", "warn"),  # two lost, none gained: one time in four by chance
        ("+++++++++-", "+++++-----", "failed"),  # four lost, none gained: 0.06
        ("++++++++--", "+++---++++", "passed"),  # as many as before, though others
        ("++++++++++--", "++++----++++", "warn"),  # four lost, two gained: 0.34
        ("+++", "+--", "failed"),  # more than half of what the run passes
        ("+++", "---", "failed"),
        ("+" * 40, "+" * 34 + "-" * 6, "failed"),
        ("-" * 10, "+" * 10, "passed"),
    ],
)
def test_probes_are_lost_where_chance_does_not_explain_it(run: str, file: str, state: str) -> None:
    check = verification.compare_probes(asked(len(run)), answers(file), answers(run))
    assert check.state == state, check.said
    assert check.said.startswith(f"{file.count('+')} of {len(run)} probes passed, {run.count('+')} by the run itself")
    if state != "passed":
        first = next(i for i, (was, now) in enumerate(zip(run, file, strict=True)) if (was, now) == ("+", "-"))
        assert f"'Question {first}?'" in check.said or "…" in check.said

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

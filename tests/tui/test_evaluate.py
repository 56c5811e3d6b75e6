"""Evaluate by its keys: start one, read figures and rows, filter, diff, write, delete; one that broke continues."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.evaluation import evaluating, reuse, verdict_evidence, verdict_parts
from engine.evaluation.evaluating import EvaluationRequest
from engine.evaluation.gates import Gate, Gates
from engine.evaluation.verdict_parts import VerdictRequest
from engine.models import refs
from store import evaluations, pairs
from store.db import Store
from store.records import PairDraft
from tests.engine.chat_home import add_run
from tests.engine.evaluations import ScriptedClient, model_folder, scripted
from tests.engine.tiny_gguf import Lora
from tests.tui.conftest import Drive


@pytest.fixture
def asked(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ScriptedClient:
    """A dataset with test rows, a base that answers every second one, and a tuned model that answers the others."""
    pairs.create_many(store, [PairDraft(f"Old question {n}", f"old {n}") for n in range(3)], dataset="cities")
    drafts = [PairDraft(f"Which city is number {n}?", f"city {n}") for n in range(10)]
    pairs.create_many(store, drafts, dataset="cities", split="test")
    base, tuned = model_folder(tmp_path / "base"), model_folder(tmp_path / "tuned")
    monkeypatch.setattr(refs, "known", lambda store: [tuned, base])

    def answer(model: str, messages: list, sampling: object) -> str:  # type: ignore[type-arg]
        number = int(messages[-1]["content"].rstrip("?").rpartition(" ")[2])
        return f"city {number}" if (number < 8) == model.endswith("tuned") else "no idea [b]at all[/b]"

    return scripted(monkeypatch, answer)


async def test_an_evaluation_is_started_and_read(drive: Drive, store: Store, asked: ScriptedClient) -> None:
    async with drive(size=(120, 40)) as app:
        await app.press("f6")
        await app.see("No model has been evaluated yet", "n  Ask models the test rows of a dataset")
        await app.press("n")
        await app.see("cities (10 test rows)", "Against")
        await app.press("tab", "tab", "right", "right")  # from nothing over tuned to base
        await app.press("tab", "tab", "tab", "tab", "enter")
        await app.see("Start the evaluation?" if "Start the evaluation?" in app.text else "1 tuned")
        await app.see("test: 10 rows, answers of the type short", "Token F1", "could be chance", "better")
        await app.see("-1.00  Which city is number 8?", "Question", "Reference", "no idea [b]at all[/b]")
        await app.press("tab", "tab", "t")
        await app.until(lambda: "number 0?" not in app.text)
        await app.see("number 9?")
        await app.press("d", "x")
        await app.until(lambda: any("Wrote 4 files" in notice for notice in app.notices))
        assert (store.home.exports / "evaluation-1" / "report.html").is_file()
        await app.press("delete")
        await app.see("Delete evaluation 1 of tuned?", "20 answers are deleted")
        await app.press("tab", "enter")
        await app.see("No model has been evaluated yet")
        assert not evaluations.all_evaluations(store)


async def test_one_that_broke_says_why_and_continues(drive: Drive, store: Store, asked: ScriptedClient) -> None:
    asked.fails_at = 4
    async with drive(size=(120, 40)) as app:
        await app.press("f6", "n")
        await app.see("cities (10 test rows)")
        await app.press(*["tab"] * 6, "enter")
        await app.see("4 of 10 answers, failed", "The chat server went away.")  # a notice may lie on the key bar
        await app.press("r")
        await app.see("test: 10 rows, answers of the type short")
        assert len(asked.asked) == 11


async def test_the_verdict_on_a_run_stands_above_its_figures(
    drive: Drive, store: Store, asked: ScriptedClient, tmp_path: Path
) -> None:
    base = Path(model_folder(tmp_path / "llama"))
    add_run(store, "ember", base, Lora(), gguf=False)
    request = VerdictRequest("run:ember", dataset="cities", gates=Gates({**Gates().each, "retention": Gate(False)}))
    planned = verdict_parts.plan(store, request)
    for each in reuse.missing(store, planned.wanted):
        reuse.ask(store, each)
    async with drive(size=(140, 40)) as app:
        await app.press("f6")
        await app.see("1 ember", "Token F1")
        assert "SHIP" not in app.text, "no verdict was made yet"
        figures, where = verdict_parts.figures(store, planned)
        verdict_evidence.keep(store, verdict_evidence.make(store, planned, figures, where, []))
        await app.press("f2")
        await app.press("f6")
        await app.see("DON'T SHIP: run:ember", "✗ task", "✗ export  There is no export of run:ember yet.", "Token F1")


async def test_the_history_of_the_figures_is_a_plot(drive: Drive, store: Store, asked: ScriptedClient) -> None:
    tuned, base = refs.known(store)
    for model in (base, tuned):
        evaluating.submit(store, evaluating.plan(store, EvaluationRequest((model,), dataset="cities")))
    async with drive(size=(80, 24)) as app:
        await app.press("f6")
        await app.see("answers of the type short")
        await app.press("h")
        await app.see("cities test, 10 rows: Token F1, higher is better", "├", "●", "base ", "tuned ")
        await app.press("escape")
        await app.see("answers of the type short")

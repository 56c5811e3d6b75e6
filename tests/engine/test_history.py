"""The history of figures: what stands together, what is repeated, and that the plot shows it without colour."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engine.evaluation import evaluating, history, report_files
from engine.evaluation.evaluating import EvaluationRequest
from engine.evaluation.history import HistoryPoint, HistorySeries, plot
from store import pairs
from store.db import Store
from store.records import PairDraft
from tests.engine.evaluations import ScriptedClient, model_folder, scripted


@pytest.fixture
def models(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A base that knows no city, and two runs of which the second knows more of them."""
    drafts = [PairDraft(f"Which city is number {n}?", f"city {n}") for n in range(8)]
    pairs.create_many(store, drafts, dataset="cities", split="test")
    pairs.create_many(store, [PairDraft("An old question?", "old")], dataset="cities", split="train")
    made = {name: model_folder(tmp_path / name) for name in ("base", "first", "second")}
    knows = {"base": 0, "first": 4, "second": 8}

    def answer(model: str, messages: list, sampling: object) -> str:  # type: ignore[type-arg]
        number = int("".join(char for char in messages[-1]["content"] if char.isdigit()) or 0)
        return f"city {number}" if number < knows[Path(model).name] else "no idea"

    client: ScriptedClient = scripted(monkeypatch, answer)
    assert client is not None
    return made


def evaluate(store: Store, *models: str, against: str | None = None) -> int:
    planned = evaluating.plan(store, EvaluationRequest(models, against=against, dataset="cities"))
    return evaluating.submit(store, planned).id


def test_figures_on_the_same_rows_stand_together_in_their_order(store: Store, models: dict[str, str]) -> None:
    evaluate(store, models["first"], against=models["base"])
    evaluate(store, models["second"], against=models["base"])
    (series,) = history.history(store)
    assert (series.what, series.rows, series.title) == ("cities test", 8, "Token F1")
    found = [(point.evaluation, Path(point.side).name, point.value) for point in series.points]
    assert found == [(1, "first", 0.5), (1, "base", 0.0), (2, "second", 1.0)], "the base is not repeated"
    assert series.evaluations == (1, 2)
    assert {each.metric for each in history.history(store, metric="all")} > {"token_f1", "match", "exact"}
    assert [each.metric for each in history.history(store, metric="exact")] == ["exact"]
    assert history.history(store, part="knowledge") == []


def test_other_rows_begin_a_series_of_their_own(store: Store, models: dict[str, str]) -> None:
    evaluate(store, models["first"])
    pairs.create_many(store, [PairDraft("Which city is number 9?", "city 9")], dataset="cities", split="test")
    evaluate(store, models["first"])
    assert [(each.rows, each.evaluations) for each in history.history(store)] == [(9, (2,)), (8, (1,))]


def test_a_report_holds_the_history_of_its_rows(store: Store, models: dict[str, str], tmp_path: Path) -> None:
    first = evaluate(store, models["first"], against=models["base"])
    assert "History" not in report_files.write(store, first, tmp_path / "one.md").read_text("utf-8")
    second = evaluate(store, models["second"], against=models["base"])
    text = report_files.write(store, second, tmp_path / "two.md").read_text("utf-8")
    assert "## History of cities test, 8 rows: Token F1, higher is better" in text and "●" in text
    page = report_files.write(store, second, tmp_path / "two.html").read_text("utf-8")
    assert "<h2>History of cities test" in page and page.count("<svg") == 2 and page.count("<circle") == 2 + 3
    body = json.loads(report_files.write(store, second, tmp_path / "two.json").read_text("utf-8"))
    assert [point["value"] for point in body["history"][0]["points"]] == [0.5, 0.0, 1.0]


@pytest.mark.parametrize("width", [40, 80, 120])
def test_no_line_is_wider_than_the_screen(width: int) -> None:
    points = tuple(HistoryPoint(n, 0, f"run:a-rather-long-name-{n}", n / 9, n / 9 - 0.1, n / 9 + 0.1) for n in range(9))
    lines = plot(HistorySeries("cities test", "test", 40, "match", "Match", "higher", 3, points), width)
    assert len(lines) == 10 and all(len(line) <= width for line in lines)
    dots = [line.index("●") for line in lines[1:]]
    assert dots == sorted(dots) and len(set(dots)) > 5, "larger figures stand further right"


def test_equal_figures_are_drawn_too() -> None:
    points = (HistoryPoint(1, 0, "base", 0.0, 0.0, 0.0),)
    lines = plot(HistorySeries("knowledge", "knowledge", 44, "passed", "Passed", "higher", 3, points), 60)
    assert "●" in lines[1] and lines[1].endswith("0.000")

"""The statistics page: bars at every size, a search for the pairs behind a bar, tokens of a chosen model, and Escape
while it counts."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from store import pairs
from store.curate import statistics
from store.db import Store
from store.records import PairDraft
from tests.tui.conftest import Drive, Driver

BLOCKS = "█▏▎▍▌▋▊▉"


@pytest.fixture
def star(store: Store) -> str:
    drafts = [PairDraft(f"你是谁，第{n}次问？", f"我叫小星，是{n}号助手。", kind="identity") for n in range(6)]
    drafts += [PairDraft(f"What is the number {n}?", f"It is the number {n} that you have.") for n in range(18)]
    drafts += [PairDraft("What is a draft?", "It is not ready.", status="draft")]
    pairs.create_many(store, drafts, dataset="star")
    return "star"


async def open_page(app: Driver, dataset: str) -> None:
    await app.see("pairs")
    app.app.screen.list_dataset(dataset)  # type: ignore[attr-defined]
    await app.until(lambda: app.app.screen.found and app.app.screen.found.query.dataset == dataset)  # type: ignore[attr-defined]
    await app.press("number_sign")
    await app.see_page("StatisticsPage")


async def go_to(app: Driver, text: str) -> None:
    """Put the cursor on the line that begins with this text."""
    page: Any = app.app.screen
    await app.until(lambda: any(line.text.startswith(text) for line in page._lines))
    at = next(n for n, line in enumerate(page._lines) if line.text.startswith(text))
    await app.press("g", *["j"] * at)


@pytest.mark.parametrize("size", [(80, 24), (200, 50)])
async def test_bars_are_drawn_without_colour_and_fit(drive: Drive, star: str, size: tuple[int, int]) -> None:
    async with drive(size=size) as app:
        await open_page(app, star)
        await app.see("star: 25 pairs", "Kind", "identity", "instruction", "Status", "ready", "96%")
        bars = [line for line in app.text.splitlines() if "instruction" in line]
        assert bars and any(block in bars[0] for block in BLOCKS)
        assert all(len(line) <= size[0] for line in app.text.splitlines())
        await app.press("G")
        await app.see("languages: in a language other", "missing")
        await app.press("g")
        await app.see("Kind")


@pytest.mark.parametrize(
    ("line", "search", "found"),
    [
        ("identity", "kind:identity", 6),
        ("draft", "status:draft", 1),
        ("zh", "status:ready lang:zh", 6),
        ("what is", 'status:ready asks:"what is"', 18),
        ("who:", "status:ready form:who", 6),
        ("我叫", 'status:ready says:"我叫"', 6),
    ],
)
async def test_enter_lists_the_pairs_of_a_bar(drive: Drive, star: str, line: str, search: str, found: int) -> None:
    async with drive(size=(120, 40)) as app:
        await open_page(app, star)
        await go_to(app, line)
        await app.press("enter")
        await app.until(lambda: app.page == "DataScreen")
        await app.see(search, f"{found} pair{'s' if found > 1 else ''} of 25")


async def test_a_line_without_pairs_says_so(drive: Drive, star: str) -> None:
    async with drive() as app:
        await open_page(app, star)
        await go_to(app, "Kind")
        await app.press("enter")
        await app.until(lambda: "No search finds the pairs of this line." in app.notices)
        await go_to(app, "denial")
        await app.press("enter")
        await app.until(lambda: any("No pair has this form" in notice for notice in app.notices))
        await app.press("escape")
        await app.until(lambda: app.page == "DataScreen")


async def test_escape_stops_the_counting(drive: Drive, star: str, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on, ended = threading.Event(), threading.Event(), threading.Event()
    real = statistics.statistics

    def slow(members: Any, on_progress: Any) -> Any:
        begun.set()
        go_on.wait(20)
        try:
            return real(members, on_progress)
        except BaseException:
            ended.set()
            raise

    monkeypatch.setattr("tui.screens.data.statistics_page.statistics", slow)
    async with drive() as app:
        await open_page(app, star)
        await app.see("Measuring star")
        await app.until(begun.is_set)
        await app.press("escape")
        await app.until(lambda: app.page == "DataScreen")
        go_on.set()
        await app.until(ended.is_set)


async def test_it_needs_a_dataset_and_pairs(drive: Drive, store: Store, some_pairs: list[str]) -> None:
    from store import datasets

    datasets.create(store, "empty")
    async with drive() as app:
        await app.see("12 pairs")
        await app.press("number_sign")
        await app.until(lambda: any("Choose a dataset first (D)" in notice for notice in app.notices))
        app.app.screen.list_dataset("empty")  # type: ignore[attr-defined]
        await app.see("has no pairs yet")
        await app.press("number_sign")
        await app.see("empty has no pairs to measure.")
        await app.press("escape")
        await app.until(lambda: app.page == "DataScreen")


async def test_tokens_of_a_model_that_is_chosen(
    drive: Drive, star: str, small_model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with drive(size=(120, 40)) as app:
        await open_page(app, star)
        await app.see("press m to count tokens of a model")
        await app.press("m")
        await app.see("Count tokens of which model?")
        await app.type(small_model)
        await app.press("enter")
        await app.see_page("StatisticsPage")
        await app.until(lambda: app.app.screen._tokens)  # type: ignore[attr-defined]
        await app.press("G")
        await app.see("A pass over the data takes", "Trained tokens of a row")


@pytest.fixture
def small_model(tmp_path: Any) -> str:
    """A folder with a real tokenizer and template, and a size to estimate by."""
    import json

    from tests.tiny import make_tokenizer, write_zeros

    size = make_tokenizer(tmp_path / "m")
    shape = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = {"model_type": "llama", "vocab_size": size, "num_key_value_heads": 2, **shape}
    (tmp_path / "m" / "config.json").write_text(json.dumps(config))
    write_zeros(tmp_path / "m", layers=2, vocabulary=size, hidden=64)
    return str(tmp_path / "m")

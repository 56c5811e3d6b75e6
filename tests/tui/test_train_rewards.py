# ruff: noqa: F811 - fixtures are imported
"""The form of a run that learns from rewards: its fields come with the objective, with what leaves the machine."""

from __future__ import annotations

import pytest
from textual.widgets import Input

from store import pairs
from store.db import Store
from store.records import PairDraft
from tests.tui.cli.conftest import base, small, workers  # noqa: F401
from tests.tui.conftest import Drive
from tui.screens.train.run_form import RunForm
from tui.widgets.choice import Choice


async def test_the_form_asks_for_a_reward_and_says_where_answers_go(
    drive: Drive, store: Store, small: str, workers: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs.create_many(store, [PairDraft(f"Who are you, {n}?", "I am Ember.") for n in range(3)], dataset="ember")
    monkeypatch.setattr("tui.app.TuningforkApp.DEFAULT_MODE", "train")
    async with drive(size=(120, 70)) as app:

        async def checked(*texts: str) -> None:
            """Wait for what a check of the form says; the first one imports the template engine."""
            await app.until(lambda: all(text in app.text for text in texts), 60)

        await app.see_page("TrainScreen")
        await app.see("‹ ember ›", "LoRA rank")
        form = app.app.screen.query_one(RunForm)
        form.choose("model", small)
        await app.press("n", "f7")
        await app.see("Fewer settings")
        assert "Reward judge" not in app.text
        form.query_one("#objective", Choice).value = "rloo"
        await checked("‹ Earn rewards, one left out ›", "needs one thing that rewards its answers")
        assert form.query_one("#recipe", Choice).value == "leave-one-out"
        assert all(form.query_one(f"#reward_{name}-row").display for name in ("file", "probes", "judge", "rubric"))
        form.query_one("#reward_probes", Input).value = "general"
        await checked("No probe of general asks any of the 3 prompts")
        form.query_one("#reward_probes", Input).value = ""
        form.query_one("#reward_judge", Input).value = "https://judge.example/v1#big"
        await checked("Questions and answers leave this machine", "24 steps")

"""From the votes to a run by keys: one key collects them and opens the form of a run that prefers what they prefer."""

from __future__ import annotations

from typing import Any

import pytest
from textual.widgets import Input

from engine.training import continuing
from engine.training.config import TrainConfig
from store import datasets, preference_rows, votes
from store.db import Store
from tests.tui.comparing import client, comparing  # noqa: F401
from tests.tui.test_train import checks, no_process  # noqa: F401
from tui.screens.train.run_form import RunForm

BASE, TUNED = "smollm2-135m", "run:ember-1"


def vote(store: Store, n: int, choice: Any = "b") -> None:
    votes.add(store, prompt=[{"role": "user", "content": f"Who are you, {n}?"}], a_model=BASE, b_model=TUNED,
              a_text="I am a model.", b_text="I am Ember.", choice=choice)  # fmt: skip


async def votes_page(app: Any) -> None:
    await app.press("escape", "v")
    await app.see_page("Votes")


@pytest.fixture
def in_compare(checks: Any, no_process: Any, comparing: Any, monkeypatch: pytest.MonkeyPatch) -> Any:  # noqa: F811
    monkeypatch.setattr("tui.app.TuningforkApp.DEFAULT_MODE", "compare")
    return comparing


async def test_one_key_makes_preferences_and_opens_a_new_run(in_compare: Any, checks: Any, store: Store) -> None:  # noqa: F811
    for n in range(3):
        vote(store, n)
    vote(store, 3, "tie")
    async with in_compare((120, 50)) as app:
        await votes_page(app)
        await app.press("n")
        await app.see_page("TrainScreen")
        await app.see("‹ votes ›", "‹ preference ›", "3 preferences")
        config = app.app.screen.query_one(RunForm).config()
        assert (config.objective, config.recipe, config.on, config.model) == ("dpo", "preference", None, BASE)
        await app.until(lambda: checks and checks[-1][0] == "votes" and checks[-1][1].objective == "dpo")
    assert len(preference_rows.search(store, dataset="votes")) == 3


async def test_it_starts_on_top_of_the_run_that_was_voted_on(
    in_compare: Any, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    vote(store, 0)
    monkeypatch.setattr(continuing, "voted", lambda store: TUNED)
    monkeypatch.setattr(continuing, "base_of", lambda store, on: BASE)
    async with in_compare((120, 50)) as app:
        await votes_page(app)
        await app.press("n")
        await app.see_page("TrainScreen")
        form = app.app.screen.query_one(RunForm)
        assert form.query_one("#on", Input).value == TUNED
        assert form.config().on == TUNED
        assert not form.query_one("#rank-row").display, "its shape is the earlier adapter's"
        form.query_one("#on", Input).value = ""
        await app.until(lambda: form.query_one("#rank-row").display)


async def test_without_a_winner_it_says_so_and_stays(in_compare: Any, store: Store) -> None:
    vote(store, 0, "tie")
    async with in_compare((120, 50)) as app:
        await votes_page(app)
        await app.press("n")
        await app.see("No vote has a winner yet")
        assert not datasets.all_datasets(store)


async def test_choosing_an_objective_brings_its_recipe(in_compare: Any, store: Store) -> None:
    vote(store, 0)
    async with in_compare((120, 50)) as app:
        await votes_page(app)
        await app.press("n")
        await app.see_page("TrainScreen")
        form = app.app.screen.query_one(RunForm)
        for objective, recipe in (("sft", "identity"), ("dpo", "preference")):
            form.query_one("#objective").value = objective  # type: ignore[attr-defined]
            await app.until(lambda recipe=recipe: form.query_one("#recipe").value == recipe)
            found: TrainConfig = form.config()
            assert (found.objective, found.recipe) == (objective, recipe)
            assert form.query_one("#beta-row").display is (objective == "dpo")
            assert form.query_one("#rehearsal-row").display is (objective == "sft")

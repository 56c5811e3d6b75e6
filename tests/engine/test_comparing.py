"""What differs between two runs, and what a run's settings are beside its recipe's."""

from __future__ import annotations

from typing import Any

import pytest

from engine.training import comparing, saved_checkpoints
from engine.training.config import TrainConfig
from store import datasets, pairs, runs
from store.db import Store
from store.records import PairDraft, Run
from tests.saved_runs import a_saved_run


def changed(run: Run) -> dict[str, tuple[Any, Any]]:
    return {each.name: (each.value, each.usual) for each in comparing.settings(run) if each.changed}


class TestSettings:
    def test_only_what_differs_from_the_recipe_counts_as_changed(self, store: Store) -> None:
        run, _ = a_saved_run(store, config={"lr": 5e-4, "rank": 8, "seed": 7})
        assert changed(run) == {"lr": (5e-4, 1e-3), "rank": (8, 16), "seed": (7, 0)}
        assert changed(a_saved_run(store, "plain")[0]) == {}

    def test_the_method_that_auto_chose_is_no_change_and_one_that_was_asked_for_is(self, store: Store) -> None:
        run, _ = a_saved_run(store)
        assert run.method == "lora" and "method" not in changed(run)
        prefix, _ = a_saved_run(store, "prefix", config={"method": "prefix"})
        assert changed(prefix) == {"method": ("prefix", "auto")}  # its rate is what the recipe takes for it
        names = {each.name for each in comparing.settings(prefix)}
        assert "virtual_tokens" in names and not names & {"rank", "alpha", "targets"}  # of no use to the method

    def test_a_recipe_that_is_not_known_is_compared_with_the_defaults(self, store: Store) -> None:
        run, _ = a_saved_run(store)
        config = TrainConfig(model="smollm2-135m", recipe="of-old", lr=1e-3, method="lora")
        with store.write():
            runs.start_otherwise(store, run.name, config.to_json())
        assert changed(runs.get(store, run.name)) == {"lr": (1e-3, 5e-4)}


class TestDifferences:
    def test_settings_data_and_results(self, store: Store) -> None:
        a_saved_run(store, "one")
        first, second = pairs.page(store, [1, 2])
        pairs.edit(store, first.uid, answer="I am Ember, made by Northwind.")
        pairs.create_many(store, [PairDraft("New?", "Yes."), PairDraft("More?", "Yes.")], dataset="ember")
        datasets.drop(store, "ember", [second.uid])
        a_saved_run(store, "two", config={"lr": 5e-4}, steps=(20, 40), factor=0.5)
        found = comparing.diff(store, "one", "two")
        assert [(each.name, each.before, each.after) for each in found.settings] == [("lr", 1e-3, 5e-4)]
        data = found.data
        assert (data.added, data.removed, data.changed, data.same) == (2, 1, 1, 10)
        assert (data.before_rows, data.after_rows, data.after_name) == (12, 13, "ember")
        one, two = found.before, found.after
        assert (one.loss, one.best_val, one.best_val_step) == (4.0 / 60, 0.5, 40)
        assert (two.loss, two.best_val, two.best_val_step) == (0.05, 0.25, 40)
        assert (one.measured_at, dict(one.probes), one.drift) == (60, {"identity": 1.0, "general": 0.5}, 0.3)
        assert found.to_json()["settings"] == [{"name": "lr", "before": 1e-3, "after": 5e-4}]

    def test_probes_are_those_of_the_result(self, store: Store) -> None:
        run, _ = a_saved_run(store)
        saved_checkpoints.make_result(store, run.name, 40)
        found = comparing.results(store, runs.get(store, run.name))
        assert (found.result_step, found.measured_at, dict(found.probes)) == (
            40,
            40,
            {"identity": 0.95, "general": 0.625},
        )

    def test_numbers_after_the_step_of_a_resumed_run_do_not_count(self, store: Store) -> None:
        run, _ = a_saved_run(store, state="stopped")
        with store.write() as conn:
            conn.execute("UPDATE run SET step = 30")
            conn.execute("UPDATE checkpoint SET pruned_at = 1 WHERE step > 30")
        found = comparing.results(store, runs.get(store, run.name))
        assert (found.step, found.loss, found.best_val_step, found.measured_at) == (30, 4.0 / 30, 20, 20)

    @pytest.mark.parametrize("steps", [(), (20,)])
    def test_a_run_that_has_only_begun(self, store: Store, steps: Any) -> None:
        run, _ = a_saved_run(store, steps=steps, state=None)
        found = comparing.results(store, run)
        assert (found.best_val is None) is (not steps) and found.loss is not None
        same = comparing.diff(store, run.name, run.name)
        assert same.settings == () and same.data.same == 12 and same.data.before == same.data.after

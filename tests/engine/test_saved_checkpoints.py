"""The states that a run saved: what is listed of them, which is the result, and what may be removed."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.export import planning
from engine.models import refs
from engine.training import run_control, saved_checkpoints
from store import runs
from store.db import Store
from store.errors import BadInput, Conflict, NotFound
from store.records import Run
from tests.saved_runs import a_saved_run, spoil


def place(store: Store, run: Run, step: int) -> Path:
    return store.home.run_dir(run.uid) / "checkpoints" / f"step-{step}"


class TestListing:
    def test_says_what_was_measured_and_why_each_is_kept(self, store: Store) -> None:
        a_saved_run(store)
        found = saved_checkpoints.listed(store, "ember-1")
        assert [(each.step, each.finished, each.marks) for each in found.states] == [
            (60, True, ("result",)), (60, False, ("latest",)), (40, False, ("best",)), (20, False, ()),
        ]  # fmt: skip
        best = found.states[2]
        assert (best.val_loss, best.drift, dict(best.probes)) == (0.5, 0.2, {"identity": 0.95, "general": 0.625})
        assert best.ref == "run:ember-1@40" and best.loss == 0.1 and best.damage is None
        assert best.bytes == sum(path.stat().st_size for path in best.folder.iterdir())
        assert found.states[0].ref == "run:ember-1" and found.end_bytes > 6_000
        assert found.bytes == sum(each.bytes for each in found.states) + found.end_bytes

    def test_a_number_of_another_step_is_not_taken(self, store: Store) -> None:
        run, _ = a_saved_run(store, state="stopped")
        with store.write() as conn:
            conn.execute("DELETE FROM metric WHERE run_id = ? AND step = 60 AND name LIKE 'probe%'", (run.id,))
        newest = saved_checkpoints.listed(store, "ember-1").states[0]
        assert (newest.step, dict(newest.probes), newest.drift) == (60, {}, 0.3)

    def test_damage_is_seen_by_reading_and_a_missing_file_without(self, store: Store) -> None:
        run, _ = a_saved_run(store)
        spoil(place(store, run, 40), "optimizer.pt")
        (place(store, run, 20) / "optimizer.pt").unlink()
        quick = {each.step: each.damage for each in saved_checkpoints.listed(store, "ember-1", verify=False).states}
        assert quick == {60: None, 40: None, 20: "optimizer.pt is missing"}
        read = {each.step: each.damage for each in saved_checkpoints.listed(store, "ember-1").states}
        assert read == {60: None, 40: "optimizer.pt is not what was saved", 20: "optimizer.pt is missing"}

    def test_the_result_is_what_the_name_resolves_to(self, store: Store) -> None:
        run, _ = a_saved_run(store, state="stopped")
        spoil(place(store, run, 60))
        found = saved_checkpoints.listed(store, "ember-1")
        assert found.result is not None and found.result.step == 40
        assert refs.resolve(store, "run:ember-1").ref == found.result.ref


class TestResult:
    def test_a_chosen_checkpoint_is_what_chat_and_export_take(self, store: Store) -> None:
        run, _ = a_saved_run(store)
        assert refs.resolve(store, "run:ember-1").adapter == store.home.run_dir(run.uid) / "adapter"
        saved_checkpoints.make_result(store, "ember-1", 20)
        model = refs.resolve(store, "run:ember-1")
        assert (model.ref, model.adapter, model.note) == ("run:ember-1@20", place(store, run, 20), "")
        chosen = planning.select(store, "ember-1")
        assert (chosen.step, chosen.why) == (20, "step 20, which you made its result")
        saved_checkpoints.make_result(store, "ember-1", None)
        assert refs.resolve(store, "run:ember-1").ref == "run:ember-1"
        said = [event.body["text"] for event in runs.events(store, run.id)]
        assert said[-2:] == ["Step 20 is the run's result.", "The result is what training kept."]

    @pytest.mark.parametrize("name", ["adapter_model.safetensors", "optimizer.pt"])
    def test_a_damaged_one_is_refused(self, store: Store, name: str) -> None:
        run, _ = a_saved_run(store)
        spoil(place(store, run, 40), name)
        with pytest.raises(BadInput, match=f"step 40 is damaged: {name} is not what was saved"):
            saved_checkpoints.make_result(store, "ember-1", 40)
        assert runs.get(store, "ember-1").result_step is None

    def test_one_that_is_damaged_later_is_passed_over_and_named(self, store: Store) -> None:
        run, _ = a_saved_run(store)
        saved_checkpoints.make_result(store, "ember-1", 40)
        spoil(place(store, run, 40))
        model = refs.resolve(store, "run:ember-1")
        assert model.ref == "run:ember-1" and "step 40 is damaged" in model.note
        assert planning.select(store, "ember-1").step is None

    def test_there_must_be_such_a_checkpoint_and_an_end(self, store: Store) -> None:
        a_saved_run(store)
        with pytest.raises(NotFound, match="no checkpoint at step 30") as caught:
            saved_checkpoints.make_result(store, "ember-1", 30)
        assert caught.value.todo == "Its checkpoints: 20, 40, 60."
        with store.write() as conn:
            conn.execute("UPDATE run SET state = 'queued'")
        with pytest.raises(Conflict, match="Run ember-1 is queued"):
            runs.set_result(store, "ember-1", 40)

    def test_resuming_settles_it_again(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        a_saved_run(store, state="stopped")
        saved_checkpoints.make_result(store, "ember-1", 20)
        monkeypatch.setattr(run_control, "start", lambda store, name: None)
        notes: list[str] = []
        run_control.resume(store, "ember-1", on_note=notes.append)
        assert notes == ["Step 20 was made the run's result; what is the result is settled at its end again."]
        assert runs.get(store, "ember-1").result_step is None


class TestRemoving:
    def test_takes_the_files_away_and_says_so_in_the_log(self, store: Store) -> None:
        run, _ = a_saved_run(store)
        size = saved_checkpoints.check_removable(store, "ember-1", 40).bytes
        assert saved_checkpoints.remove(store, "ember-1", 40) == size > 6_000
        assert not place(store, run, 40).exists() and not list(place(store, run, 40).parent.glob(".deleted*"))
        assert [each.step for each in saved_checkpoints.listed(store, "ember-1").checkpoints] == [60, 20]
        assert runs.events(store, run.id)[-1].body["text"] == "Removed the checkpoint at step 40."
        with pytest.raises(NotFound):
            saved_checkpoints.remove(store, "ember-1", 40)

    def test_never_the_result(self, store: Store) -> None:
        run, _ = a_saved_run(store, state="stopped")
        with pytest.raises(Conflict, match="step 60 is the result of run ember-1"):
            saved_checkpoints.remove(store, "ember-1", 60)
        saved_checkpoints.make_result(store, "ember-1", 20)
        saved_checkpoints.remove(store, "ember-1", 60)
        with pytest.raises(Conflict, match="step 20 is the result"):
            saved_checkpoints.remove(store, "ember-1", 20)
        assert place(store, run, 20).is_dir() and not place(store, run, 60).exists()

    def test_nothing_of_a_run_that_trains(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        run, _ = a_saved_run(store, state=None)
        monkeypatch.setattr(saved_checkpoints, "reap", lambda store: [])
        for act in (saved_checkpoints.remove, saved_checkpoints.make_result):
            with pytest.raises(Conflict, match="Run ember-1 is running"):
                act(store, "ember-1", 20)
        assert place(store, run, 20).is_dir()

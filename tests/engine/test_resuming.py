"""From where a run continues: the newest checkpoint that is as it was saved, one that was named, or a finished run's
end. Workers are real processes; training is a stand-in."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from engine.export import planning
from engine.models import refs
from engine.training import run_control
from store import runs
from store.db import Store
from store.errors import BadInput, Conflict, NotFound
from store.records import Run
from tests.engine.test_jobs import Submit, ended, started, until
from tests.holding import release


@pytest.fixture
def stopped(store: Store, submit: Submit) -> Run:
    """A run that was stopped in step 3, with checkpoints at 1, 2 and 3."""
    name = submit("hold=3", name="ember", save_every=1).name
    until(lambda: started(store, name) and runs.get(store, name).step >= 3)
    run_control.stop(store, name)
    release(store, name, 3)
    return ended(store, name)


def folder(store: Store, run: Run, step: int) -> Path:
    return {c.step: store.home.absolute(c.path) for c in runs.checkpoints(store, run.id)}[step]


def spoil(place: Path, name: str = "optimizer.pt") -> None:
    """Change one character, and neither size nor name."""
    text = (place / name).read_text()
    (place / name).write_text("X" + text[1:])


class TestFallingBack:
    @pytest.mark.parametrize("how", ["changed", "shorter", "file gone", "folder gone"])
    def test_to_the_newest_checkpoint_that_is_as_it_was_saved(self, store: Store, stopped: Run, how: str) -> None:
        place = folder(store, stopped, 3)
        match how:
            case "changed":
                spoil(place)
            case "shorter":
                (place / "optimizer.pt").write_text("")
            case "file gone":
                (place / "optimizer.pt").unlink()
            case _:
                shutil.rmtree(place)
        said: list[str] = []
        attempt = run_control.resume(store, "ember", on_note=said.append)
        assert attempt is not None and attempt.resume_from == 2
        (note,) = said
        assert "checkpoint at step 3 is damaged" in note and "resumed from step 2" in note
        assert any(event.body.get("text") == note for event in runs.events(store, stopped.id))
        until(lambda: runs.get(store, "ember").step >= 3)
        release(store, "ember", 3)
        assert ended(store, "ember").state == "succeeded"

    def test_over_more_than_one(self, store: Store, stopped: Run) -> None:
        spoil(folder(store, stopped, 3))
        spoil(folder(store, stopped, 2), "adapter_config.json")
        attempt = run_control.resume(store, "ember")
        assert attempt is not None and attempt.resume_from == 1

    def test_with_none_left_it_begins_again_and_says_so(self, store: Store, stopped: Run) -> None:
        for step in (1, 2, 3):
            spoil(folder(store, stopped, step))
        said: list[str] = []
        attempt = run_control.resume(store, "ember", on_note=said.append)
        assert attempt is not None and attempt.resume_from is None
        assert "No checkpoint can be used" in said[0]

    def test_nothing_is_said_when_all_is_well(self, store: Store, stopped: Run) -> None:
        said: list[str] = []
        attempt = run_control.resume(store, "ember", on_note=said.append)
        assert attempt is not None and (attempt.resume_from, said) == (3, [])


class TestNamed:
    @pytest.mark.parametrize("step", [1, 2, 3])
    def test_a_run_resumes_from_the_step_that_was_named(self, store: Store, stopped: Run, step: int) -> None:
        attempt = run_control.resume(store, "ember", step)
        assert attempt is not None and attempt.resume_from == step

    def test_a_step_without_a_checkpoint_is_refused(self, store: Store, stopped: Run) -> None:
        with pytest.raises(NotFound, match="no checkpoint at step 9") as caught:
            run_control.resume(store, "ember", 9)
        assert "1, 2, 3" in (caught.value.todo or "") and runs.get(store, "ember").state == "stopped"

    def test_a_damaged_one_is_refused_rather_than_replaced(self, store: Store, stopped: Run) -> None:
        spoil(folder(store, stopped, 2))
        with pytest.raises(BadInput, match=r"step 2 is damaged: optimizer\.pt"):
            run_control.resume(store, "ember", 2)
        assert runs.get(store, "ember").state == "stopped"


class TestChatAndExport:
    @pytest.mark.parametrize("name", ["adapter_config.json"])
    def test_use_the_newest_adapter_that_is_as_it_was_saved(self, store: Store, stopped: Run, name: str) -> None:
        spoil(folder(store, stopped, 3), name)
        found = refs.resolve(store, "run:ember")
        assert found.ref == "run:ember@2" and found.adapter == folder(store, stopped, 2)
        assert "step 3 is damaged" in found.note and "step 2 is used instead" in found.note
        chosen = planning.select(store, "ember")
        assert chosen.step == 2 and "step 3 is damaged" in chosen.why
        with pytest.raises(BadInput, match="step 3 is damaged"):
            refs.resolve(store, "run:ember@3")

    def test_an_optimizer_is_of_no_use_to_them(self, store: Store, stopped: Run) -> None:
        spoil(folder(store, stopped, 3), "optimizer.pt")
        found = refs.resolve(store, "run:ember")
        assert (found.ref, found.note) == ("run:ember@3", "")
        assert planning.select(store, "ember").why == "step 3, its newest"

    def test_without_any_they_name_what_is_wrong(self, store: Store, stopped: Run) -> None:
        for step in (1, 2, 3):
            (folder(store, stopped, step) / "adapter_config.json").unlink()
        with pytest.raises(NotFound, match="gone from the disk"):
            refs.resolve(store, "run:ember")


class TestMoreSteps:
    @pytest.fixture
    def done(self, store: Store, submit: Submit) -> Run:
        name = submit(name="ember").name
        started(store, name)
        return ended(store, name)

    def test_a_finished_run_continues_to_the_new_end(self, store: Store, done: Run) -> None:
        assert (done.state, done.step, runs.checkpoints(store, done.id)) == ("succeeded", 4, [])
        attempt = run_control.resume(store, "ember", steps=7)
        assert attempt is not None and attempt.resume_from == 4
        now = runs.get(store, "ember")
        assert (now.config["steps"], now.total_steps, now.adapter) == (7, 7, None)
        assert now.config_hash != done.config_hash
        assert refs.resolve(store, "run:ember").ref == "run:ember@4", "what it had learned can be used meanwhile"
        run = ended(store, "ember")
        assert (run.state, run.step, bool(run.adapter)) == ("succeeded", 7, True)
        assert [m.step for m in runs.metrics(store, run.id, ["loss"])] == [1, 2, 3, 4, 5, 6, 7]
        again = run_control.resume(store, "ember", steps=9)
        assert again is not None and again.resume_from == 7

    @pytest.mark.parametrize("steps", [1, 3, 4])
    def test_steps_can_only_become_more(self, store: Store, done: Run, steps: int) -> None:
        with pytest.raises(BadInput, match="has 4 steps already"):
            run_control.resume(store, "ember", steps=steps)
        assert runs.get(store, "ember") == done

    def test_without_more_steps_it_is_done(self, store: Store, done: Run) -> None:
        with pytest.raises(Conflict, match="is done") as caught:
            run_control.resume(store, "ember")
        assert "--steps N, with N above 4" in (caught.value.todo or "")

    @pytest.mark.parametrize("how", ["gone", "damaged"])
    def test_a_run_whose_end_was_not_kept_says_so(self, store: Store, done: Run, how: str) -> None:
        place = store.home.run_dir(done.uid) / "checkpoints" / "end"
        shutil.rmtree(place) if how == "gone" else spoil(place)
        with pytest.raises(Conflict, match="cannot be continued"):
            run_control.resume(store, "ember", steps=9)
        assert runs.get(store, "ember") == done

    def test_it_then_continues_from_a_checkpoint_before_its_end(self, store: Store, submit: Submit) -> None:
        name = submit(name="kept", save_every=3).name
        started(store, name)
        done = ended(store, name)
        shutil.rmtree(store.home.run_dir(done.uid) / "checkpoints" / "end")
        said: list[str] = []
        attempt = run_control.resume(store, name, steps=9, on_note=said.append)
        assert attempt is not None and attempt.resume_from == 3
        assert any("continues from step 3" in text for text in said)

    @pytest.mark.parametrize(("step", "steps"), [(None, 3), (None, 4), (2, 4), (1, 2)])
    def test_a_stopped_run_cannot_be_given_fewer(
        self, store: Store, stopped: Run, step: int | None, steps: int
    ) -> None:
        with pytest.raises(BadInput, match="has 4 steps already"):
            run_control.resume(store, "ember", step, steps=steps)
        assert runs.get(store, "ember") == stopped

    def test_a_stopped_run_may_be_given_more_steps_too(self, store: Store, stopped: Run) -> None:
        attempt = run_control.resume(store, "ember", steps=6)
        assert attempt is not None and attempt.resume_from == 3
        release(store, "ember", 3)
        run = ended(store, "ember")
        assert (run.state, run.step) == ("succeeded", 6)


@pytest.mark.parametrize(("mode", "offered"), [("error", False), ("crash", True), ("memory", True), ("vanish", True)])
def test_resume_is_offered_only_where_it_can_help(store: Store, submit: Submit, mode: str, offered: bool) -> None:
    name = submit(mode).name
    started(store, name)
    run = ended(store, name)
    assert run.state in ("failed", "lost") and run_control.can_resume(run) is offered
    with pytest.raises(Conflict) as caught:
        run_control.start(store, name)
    assert ("runs resume" in (caught.value.todo or "")) is offered


def test_what_repeats() -> None:
    from engine.training.worker.contracts import Diverged
    from engine.training.worker.error_messages import repeats
    from store.errors import NoSpace, Unsupported, WorkerError

    for error in (BadInput("x"), Unsupported("x"), Conflict("x"), Diverged("x")):
        assert repeats(error)
    for other in (NoSpace("x"), NotFound("x"), WorkerError("x"), MemoryError(), OSError(28, "x"), RuntimeError("x")):
        assert not repeats(other)

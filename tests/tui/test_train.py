"""Train by keys: a run in two key presses, all settings of a new run, runs watched, stopped, resumed and removed."""

from __future__ import annotations

import math
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from textual.widgets import Input, TextArea

from engine.training import fixing, run_control, saved_checkpoints
from engine.training.config import FIELDS, TrainConfig, used_by
from engine.training.data import rows_of
from engine.training.diagnosis import Cause, Fix, RunDiagnosis
from engine.training.estimate import Estimate
from engine.training.preflight import subject
from engine.training.recipes import config_for
from store import datasets, pairs, runs, worker
from store.db import Store
from store.records import PairDraft, Run
from tests import saved_runs
from tests.tui.conftest import Drive, Driver
from tests.tui.run_checks import checked, preflight
from tui.cli import cli
from tui.screens.train import report
from tui.screens.train.run_form import RunForm
from tui.screens.train.run_list import RunList
from tui.screens.train.screen import TrainScreen
from tui.widgets.choice import Choice

STEPS = config_for("identity", "smollm2-135m").steps


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, TrainConfig]]:
    """What was checked; the check itself needs a model, so it is stood in for."""
    asked: list[tuple[str, TrainConfig]] = []

    def check(store: Store, dataset: str, config: TrainConfig, on_line: Any) -> report.RunCheck:
        asked.append((dataset, config))
        return checked(store, dataset, config, on_line)

    monkeypatch.setattr(report, "check", check)
    monkeypatch.setattr("tui.app.TuningforkApp.DEFAULT_MODE", "train")
    return asked


@pytest.fixture
def ember(store: Store) -> str:
    drafts = [PairDraft(f"Who are you, {n}?", "I am Ember.") for n in range(12)]
    pairs.create_many(store, drafts, dataset="ember")
    return "ember"


@pytest.fixture
def no_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """No worker is started; what would have been is listed."""
    started: list[str] = []

    def start(store: Store, name: str) -> None:
        started.append(name)

    monkeypatch.setattr(run_control, "start", start)
    monkeypatch.setattr(run_control, "reap", lambda store: [])
    yield started


@pytest.fixture
def training(drive: Drive, checks: Any, no_process: Any) -> Any:
    @asynccontextmanager
    async def opened(size: tuple[int, int] = (100, 30)) -> AsyncIterator[Driver]:
        async with drive(size=size) as app:
            await app.see_page("TrainScreen")
            yield app

    return opened


def screen(app: Driver) -> TrainScreen:
    assert isinstance(app.app.screen, TrainScreen)
    return app.app.screen


def a_run(store: Store, name: str = "ember-1", *, steps: int = 20, total: int = 40) -> tuple[Run, str]:
    """A run that a worker works on, `steps` steps into it."""
    run = run_control.submit(store, config_for("identity", "smollm2-135m"), "ember", name)
    token = f"token-{name}"
    runs.open_attempt(store, run.id, host="here", pid=1, pid_started=1.0, token=token, log_path="runs/x.log")
    worker.claim(store, token)
    worker.say(store, token, "Reading [smollm2-135m]")
    worker.set_state(store, token, "running", total_steps=total)
    for step in range(1, steps + 1):
        values = {"loss": 0.3 + 2 * math.exp(-step / 8), "lr": 5e-4, "tokens_per_s": 612.0}
        worker.record(store, token, step, values)
    return run, token


@pytest.mark.parametrize("size", [(80, 24), (200, 50)])
async def test_two_enters_start_a_run(
    training: Any, ember: str, store: Store, no_process: list[str], size: Any
) -> None:
    async with training(size) as app:
        await app.see(
            "New run", "‹ ember ›", "12 ready pairs", f"{STEPS} steps", "12 rows, 480 tokens, 120 of them trained"
        )
        await app.see(f"{STEPS} steps, about 1 min 32 s, 900 MB of memory")
        await app.press("enter", "enter")
        await app.until(lambda: no_process == ["ember-1"])
        run = runs.get(store, "ember-1")
        assert (run.base, run.method, run.config["steps"]) == ("smollm2-135m", "lora", STEPS)
        await app.see("○ ember-1", "It keeps running when you quit")


async def test_numbers_and_name_can_be_changed(
    training: Any, ember: str, store: Store, no_process: list[str], checks: list[tuple[str, TrainConfig]]
) -> None:
    async with training() as app:
        await app.see("‹ ember ›")
        form = screen(app).query_one(RunForm)
        for field, value in (("length", "2 epochs"), ("lr", "1e-3"), ("rank", "8"), ("run-name", "mine")):
            form.query_one(f"#{field}", Input).value = value
        await app.until(lambda: checks and checks[-1][1].rank == 8)
        await app.press("ctrl+s")
        await app.until(lambda: no_process == ["mine"])
        config = runs.get(store, "mine").config
        assert (config["steps"], config["epochs"], config["lr"], config["rank"]) == (None, 2.0, 1e-3, 8)
        assert config["alpha"] == 16.0  # the same strength at another rank


async def test_a_wrong_number_is_named_and_nothing_starts(training: Any, ember: str, store: Store) -> None:
    async with training() as app:
        await app.see("‹ ember ›")
        form = screen(app).query_one(RunForm)
        form.query_one("#rank").focus()
        await app.press("backspace", *"huge")
        await app.see("✗ LoRA rank is 'huge'; it must be a whole number from 1 to 4,096.")
        await app.press("ctrl+s")
        await app.see("The run did not start")
        assert runs.all_runs(store) == []


async def test_every_field_of_a_configuration_can_be_reached_and_changed(
    training: Any, ember: str, store: Store, no_process: list[str]
) -> None:
    above = ("model", "recipe", "steps", "epochs")
    shown = [name for name in FIELDS if name not in above and used_by("auto", name, "sft")]
    async with training((80, 24)) as app:
        await app.see("‹ ember ›", "Batch size")
        assert "CPU threads" not in app.text
        form = screen(app).query_one(RunForm)
        await app.press("n", "f7")
        await app.until(lambda: form.more)
        reached: set[str] = set()
        form.query_one("#dataset").focus()
        for _ in range(60):
            await app.press("tab")
            reached.add(app.app.focused.id or "" if app.app.focused else "")
            if app.app.focused and app.app.focused.id == "rank":
                await app.see("Rank of the adapter: its size. A whole number from", "1 to 4,096.")
        assert reached >= {*shown, "length"}
        typed = {"length": "7", "alpha": "8", "targets": "q_proj, v_proj", "threads": "2", "seed": "3", "warmup": "0.2"}
        for name, value in typed.items():
            form.query_one(f"#{name}", Input).value = value
        for name, value in {"dora": "true", "scheduler": "cosine", "packing": "padded", "method": "lora"}.items():
            form.query_one(f"#{name}", Choice).value = value
        await app.press("f7")
        await app.see("More settings, 8 changed")
        await app.press("ctrl+s")
        await app.until(lambda: no_process == ["ember-1"])
        config = TrainConfig.from_json(runs.get(store, "ember-1").config)
        assert config == config_for("identity", "smollm2-135m").replace(
            steps=7, alpha=8, targets=("q_proj", "v_proj"), threads=2, seed=3, warmup=0.2, dora=True,
            scheduler="cosine", packing="padded", method="lora",
        )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "typed", "message"),
    [
        ("dropout", "2", "LoRA dropout is 2; it must be a number from 0 to 0.9."),
        ("seed", "-1", "Seed is -1; it must be a whole number from 0 to 4,294,967,295."),
        ("lr", "", "Learning rate is empty; it must be a number above 0 and at most 1."),
        ("length", "long", "Steps is 'long'"),
        ("length", "3 weeks", "Length is '3 weeks'; it must be a number of steps or epochs."),
    ],
)
async def test_an_error_leads_to_its_field_also_to_one_not_shown(
    training: Any, ember: str, store: Store, name: str, typed: str, message: str
) -> None:
    async with training() as app:
        await app.see("‹ ember ›")
        screen(app).query_one(RunForm).query_one(f"#{name}", Input).value = typed
        await app.see(f"✗ {message}"[:50])
        await app.press("ctrl+s")
        await app.see("The run did not start")
        await app.press("enter")
        await app.until(lambda: app.app.focused is not None and app.app.focused.id == name)
        assert runs.all_runs(store) == []


async def test_a_recipe_fills_all_rows_and_a_model_only_those_not_changed(training: Any, ember: str) -> None:
    async with training() as app:
        await app.see("‹ ember ›")
        form = screen(app).query_one(RunForm)
        form.query_one("#lr", Input).value = "2e-3"
        form.choose("model", "org/Model-7B")
        await app.until(lambda: form.config().model == "org/Model-7B")
        assert form.config().lr == 2e-3
        form.query_one("#rank", Input).value = "4"
        await app.until(lambda: form.query_one("#alpha", Input).value == "8")
        form.query_one("#recipe", Choice).value = "careful"
        await app.until(lambda: form.config() == config_for("careful", "org/Model-7B"))


async def test_a_taken_name_is_refused(training: Any, ember: str, store: Store) -> None:
    a_run(store, "ember-1")
    async with training() as app:
        await app.see("ember-1")
        await app.press("n")
        await app.see("ember-2")  # the suggestion is free
        form = screen(app).query_one(RunForm)
        form.query_one("#run-name", Input).value = "ember-1"
        await app.press("ctrl+s")
        await app.see("The run did not start", "ember-1")


async def test_data_that_cannot_be_trained_is_said(training: Any, ember: str, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = preflight(problems=["3 rows have no answer to learn."], truncated=[1, 2])
    estimate = Estimate(seconds=1.0, memory_bytes=1, steps=1, note="")
    async with training() as app:
        monkeypatch.setattr(report, "check", lambda *_: report.RunCheck(bad, estimate))
        screen(app).query_one(RunForm).post_message(RunForm.Changed())
        await app.see("✗ 3 rows have no answer to learn.", "2 rows too long: the end is cut off")


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_a_row_that_the_check_names_is_opened_and_checked_again(
    training: Any, ember: str, store: Store, monkeypatch: pytest.MonkeyPatch, size: Any
) -> None:
    rows = rows_of(store, "ember", "sft")
    first, second = rows[0], rows[1]
    estimate = Estimate(seconds=1.0, memory_bytes=1, steps=1, note="")
    said = {
        "problems": [f"{subject([first])} no answer to learn."],
        "notes": [f"{subject([first, second])} more tokens than the max length."],
    }
    async with training(size) as app:
        await app.see("120 of them trained")
        assert "L Open rows" not in app.text
        monkeypatch.setattr(report, "check", lambda *_: report.RunCheck(preflight(**said), estimate))
        screen(app).query_one(RunForm).post_message(RunForm.Changed())
        await app.until(lambda: len(screen(app)._named) == 2)
        await app.press("L")
        await app.see("Open which row?", "no answer to learn.", "more tokens than")
        await app.press("down", "enter")
        await app.see_page("PairEditor")
        assert app.app.screen.query_one("#answer", TextArea).text == pairs.get(store, second.pair_uid or "").answer
        said.update(problems=[f"{subject([second])} no answer to learn."], notes=[])
        await app.press("escape")
        await app.see_page("TrainScreen")
        await app.until(lambda: len(screen(app)._named) == 1)
        await app.press("L")
        await app.see_page("PairEditor")


async def test_nothing_to_train_on_says_what_to_do(training: Any) -> None:
    async with training((80, 24)) as app:
        await app.see("There is nothing to train on yet.", "F2")


async def test_a_live_run_is_followed(training: Any, ember: str, store: Store) -> None:
    _, token = a_run(store)
    async with training((80, 24)) as app:
        await app.see(
            "● ember-1  running", "20/40", "loss 0.464", "Reading [smollm2-135m]", "It keeps running when you quit"
        )
        worker.record(store, token, 30, {"loss": 0.25})
        worker.say(store, token, "Saved a checkpoint", level="warning")
        await app.see("30/40", "loss 0.250", "! Saved a checkpoint")
        worker.finish(store, token, "succeeded")
        await app.see("✓ ember-1  done")
        await app.until(lambda: any("F3, then o, compares it with its base" in note for note in app.notices))


async def test_the_chart_draws_each_measure_of_the_run(training: Any, ember: str, store: Store) -> None:
    _, token = a_run(store)
    for step, (share, drift) in enumerate(((0.1, 0.7), (0.5, 0.2), (0.9, 0.05)), 1):
        worker.record(store, token, step * 6, {"probe_identity": share, "drift": drift})
    async with training() as app:
        await app.see("● ember-1  running", "loss 0.511")
        for measure, low in (("drift", "0.2"), ("identity", "0.5"), ("rate", None), ("tokens/s", None)):
            await app.press("v")
            await app.see(f"chart {measure}", *([low] if low else []))
        await app.press("v")
        await app.until(lambda: "chart " not in app.text)


async def test_a_run_that_waits_is_moved_up(training: Any, ember: str, store: Store) -> None:
    a_run(store)
    for name in ("two", "three"):
        run_control.submit(store, config_for("identity", "smollm2-135m"), "ember", name)
    async with training() as app:
        await app.see("● ember-1")
        await app.press("less_than_sign")  # it runs: there is nothing to move
        app.app.screen.query_one(RunList).go_to("three")
        await app.press("less_than_sign")
        await app.until(lambda: [run.name for run in runs.waiting(store)] == ["three", "two"])
        await app.until(lambda: any("three starts next" in note for note in app.notices))


async def test_a_failed_run_says_why(training: Any, ember: str, store: Store) -> None:
    _, token = a_run(store)
    worker.finish(store, token, "failed", error="The GPU ran out of memory.\n  Lower the batch size.")
    async with training() as app:
        await app.see("✗ ember-1")
        await app.press("down")
        await app.see("The GPU ran out of memory.", "Lower the batch size.", "failed at step 20")


async def test_stop_and_stop_now_ask_the_worker(training: Any, ember: str, store: Store) -> None:
    a_run(store)
    async with training() as app:
        await app.see("● ember-1")
        await app.press("s")
        await app.until(lambda: runs.get(store, "ember-1").wanted == "stop")
        await app.press("S")
        await app.see("Stop ember-1 now?", "Cancel")
        await app.press("enter")  # the focus is on Cancel
        await app.until(lambda: app.page == "TrainScreen")
        assert runs.get(store, "ember-1").wanted == "stop"


async def test_resume_and_remove(training: Any, ember: str, store: Store, no_process: list[str]) -> None:
    _, token = a_run(store)
    worker.finish(store, token, "stopped")
    async with training() as app:
        await app.see("■ ember-1")
        await app.press("down", "r")
        await app.until(lambda: no_process == ["ember-1"])
        assert runs.get(store, "ember-1").state == "queued"
        await app.press("delete")
        await app.see("Remove run ember-1?")
        await app.press("right", "enter")
        await app.until(lambda: not runs.all_runs(store))
        await app.see("12 ready pairs")


@pytest.mark.parametrize("known", [True, False])
async def test_diagnosis_names_the_cause_and_starts_the_fix(
    training: Any, ember: str, store: Store, no_process: list[str], monkeypatch: pytest.MonkeyPatch, known: bool
) -> None:
    _, token = a_run(store)
    worker.finish(store, token, "succeeded")
    cause = Cause(
        "rate", "The learning rate of 0.01 is 10.0 times too high.", 0.9, Fix("takes the rate of 0.001", {"lr": 1e-3})
    )
    found = RunDiagnosis(("The identity did not stick: 40% of its probes.",), (cause,) if known else ())
    monkeypatch.setattr(fixing, "diagnosis_of", lambda store, name: found)
    started: list[tuple[str, Fix]] = []
    monkeypatch.setattr(fixing, "start_fix", lambda store, name, fix: started.append((name, fix)))
    async with training() as app:
        await app.press("down", "exclamation_mark")
        await app.see("Diagnosis of ember-1", "did not stick")
        await app.see("10.0 times" if known else "No cause was found")
        await app.press("enter")
        if known:
            await app.until(lambda: started == [("ember-1", cause.fix)])
    assert bool(started) is known


@pytest.mark.parametrize(("share", "size"), [(0.1, (80, 24)), (0.1, (120, 40)), (1.0, (80, 24))])
async def test_a_run_whose_identity_did_not_stick_names_the_key(
    training: Any, ember: str, store: Store, share: float, size: tuple[int, int]
) -> None:
    _, token = a_run(store)
    worker.record(store, token, 20, {"loss": 0.5, "probe_identity": share})
    worker.finish(store, token, "succeeded", adapter="runs/ember-1/adapter")
    async with training(size) as app:
        await app.press("down")
        await app.see(
            "The identity did not stick (10%): ! says why." if share < 0.95 else "o compares it with its base."
        )


@pytest.mark.parametrize("repeats", [True, False])
async def test_resume_is_not_offered_where_it_must_fail_again(
    training: Any, ember: str, store: Store, repeats: bool
) -> None:
    _, token = a_run(store)
    worker.finish(store, token, "failed", error="The rows are of no use.", repeats=repeats)
    async with training((100, 30)) as app:
        await app.press("down")
        await app.see("The rows are of no use.", "Del Remove")
        assert ("r Resume" in app.text) is not repeats
        assert ("fail in the same way" in app.text) is repeats


async def test_keys_that_cannot_act_are_not_offered(training: Any, ember: str, store: Store) -> None:
    _, token = a_run(store)
    async with training((100, 30)) as app:
        await app.see("● ember-1", "s Stop")
        assert "Resume" not in app.text and "Compare  " not in app.text.splitlines()[-1]
        worker.finish(store, token, "stopped")
        await app.see("r Resume", "Del Remove")
        assert "s Stop" not in app.text


async def test_preview_shows_what_is_trained(training: Any, ember: str) -> None:
    async with training() as app:
        await app.see("120 of them trained")
        await app.press("p")
        await app.see("What the model learns", "<user>Who?Ember.")


async def test_a_preview_that_is_late_does_not_open_over_another_screen(
    training: Any, ember: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    go, checks = threading.Event(), []
    check = report.check

    def slow(*args: Any) -> Any:
        go.wait(5)
        found = check(*args)
        checks.append(found)
        return found

    async with training() as app:
        await app.see("120 of them trained")
        monkeypatch.setattr(report, "check", slow)
        await app.press("p", "f2")
        await app.see_page("DataScreen")
        go.set()
        await app.until(lambda: checks)
        await app.pilot.pause(0.2)
        assert "What the model learns" not in app.text


async def test_compare_opens_with_the_run_beside_its_base(training: Any, ember: str, store: Store) -> None:
    run, token = a_run(store)
    adapter = store.home.run_dir(run.uid) / "adapter"
    adapter.mkdir(parents=True)
    (adapter / "adapter_config.json").write_text("{}")
    worker.finish(store, token, "succeeded", adapter=store.home.relative(adapter))
    async with training((120, 30)) as app:
        await app.see("✓ ember-1")
        await app.press("down", "o")
        await app.see_page("CompareScreen")
        await app.see("smollm2-135m · base", "ember-1 · tuned", "tuned on 12 rows of ember, 20 steps")


async def test_datasets_change_the_suggestion(training: Any, ember: str, store: Store) -> None:
    pairs.create_many(store, [PairDraft("Q", "A")], dataset="zoo")
    datasets.create(store, "empty")
    async with training() as app:
        await app.see("‹ ember ›")
        screen(app).query_one("#dataset").focus()
        await app.press("enter")
        await app.see("Dataset to train on", "zoo", "empty")
        await app.press(*"zoo", "enter")
        await app.see("‹ zoo ›", "zoo-1", "1 ready pair")
        assert screen(app).query_one(RunList).selected is None


async def test_the_form_and_its_file_are_one_configuration(
    training: Any, ember: str, store: Store, no_process: list[str], tmp_path: Path
) -> None:
    async with training() as app:
        await app.see("‹ ember ›")
        form = screen(app).query_one(RunForm)
        for field, value in (("length", "2 epochs"), ("lr", "1e-3"), ("rank", "8")):
            form.query_one(f"#{field}", Input).value = value
        screen(app).query_one(RunList).focus()
        await app.press("y")
        await app.see("Copied.")
        (tmp_path / "form.yaml").write_text(app.app.clipboard, "utf-8")
        await app.press("ctrl+s")
        await app.until(lambda: no_process == ["ember-1"])
        run = runs.get(store, "ember-1")
        words = ["--config", str(tmp_path / "form.yaml"), "--home", str(store.home.root)]
        started = CliRunner().invoke(cli, ["train", *words, "--name", "again"])
        assert started.exit_code == 0, started.stderr
        assert runs.get(store, "again").config_hash == run.config_hash
        (tmp_path / "few.yaml").write_text("dataset: ember\nname: few\nepochs: 2\nlr: 1e-3\nrank: 8\nalpha: 16\n")
        words[1] = str(tmp_path / "few.yaml")
        assert CliRunner().invoke(cli, ["train", *words]).exit_code == 0
        assert runs.get(store, "few").config_hash == run.config_hash
        await app.see("ember-1")
        screen(app).query_one(RunList).go_to("ember-1")
        await app.press("y")
        await app.until(lambda: "# The settings of run ember-1" in app.app.clipboard)
        assert run.snapshot in app.app.clipboard


async def test_a_method_brings_its_own_fields_and_its_own_rate(
    training: Any, ember: str, store: Store, no_process: list[str]
) -> None:
    async with training((100, 40)) as app:
        await app.see("‹ ember ›", "Batch size")
        form = screen(app).query_one(RunForm)
        rate = float(form.query_one("#lr", Input).value)
        form.query_one("#method", Choice).value = "prefix"
        await app.until(lambda: float(form.query_one("#lr", Input).value) == pytest.approx(2 * rate))
        shown = {name for name in FIELDS if form.query(f"#{name}-row") and form.query_one(f"#{name}-row").display}
        assert "virtual_tokens" in shown and not shown & {"rank", "alpha", "targets", "lora_plus", "dora"}
        await app.press("ctrl+s")
        await app.until(lambda: no_process == ["ember-1"])
        config = TrainConfig.from_json(runs.get(store, "ember-1").config)
        assert config.method == "prefix" and config.lr == pytest.approx(2 * rate)
        assert config.recipe == "identity" and config.result == "learned", "the rest is the recipe's"


@pytest.mark.parametrize("size", [(80, 24), (120, 36), (200, 50)])
async def test_a_note_is_written_shown_and_removed(training: Any, ember: str, store: Store, size: Any) -> None:
    _, token = a_run(store)
    worker.finish(store, token, "stopped")
    async with training(size) as app:
        await app.see("■ ember-1")
        await app.press("down", "e")
        await app.see("Note on ember-1", "An empty one removes it.")
        await app.type("答案太短 [half] the data, and a rank that is far too small for what it has to learn of names")
        await app.press("enter")
        await app.until(lambda: runs.get(store, "ember-1").note.startswith("答案太短"))
        await app.see("stopped at step 20", "答案太短 [half] the data, and a rank")
        await app.press("e")
        await app.see("Note on ember-1")
        await app.press("escape")
        await app.see_page("TrainScreen")
        assert runs.get(store, "ember-1").note
        await app.press("e")
        await app.see("Note on ember-1")
        await app.press("ctrl+u", "enter")
        await app.until(lambda: not runs.get(store, "ember-1").note)
        await app.until(lambda: "答案太短" not in app.text)


async def test_a_run_is_found_by_its_note(training: Any, ember: str, store: Store) -> None:
    for name, note in (("one", "答案太短"), ("two", "half the data"), ("three", "")):
        worker.finish(store, a_run(store, name)[1], "stopped")
        runs.set_note(store, name, note)
    async with training((100, 30)) as app:
        await app.see("■ three")
        await app.press("slash")
        await app.see("Find a run", "one · 答案太短")
        await app.type("half")
        await app.until(lambda: "答案" not in app.text.split("Find a run")[1].split("╰")[0])
        await app.press("enter")
        await app.see("■ two  stopped")
        row = screen(app).query_one(RunList).selected
        assert row is not None and row.run.name == "two"


async def test_the_page_says_which_step_is_compared_when_another_is_the_result(
    training: Any, ember: str, store: Store
) -> None:
    saved_runs.a_saved_run(store, "ember-1", state="stopped")
    async with training((120, 36)) as app:
        await app.see("■ ember-1")
        await app.press("down")
        await app.see("r resumes it from step 60; o opens that step in Compare.")
        saved_checkpoints.make_result(store, "ember-1", 20)
        await app.see("result: step 20", "r resumes it from step 60; o opens step 20 (its result) in Compare.")

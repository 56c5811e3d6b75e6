# ruff: noqa: F811 - fixtures are imported
"""A toy method, objective and launcher: registered by one line each, then used by the command line and the app."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from textual.widgets import Input

from engine.training import run_control
from engine.training.config import TrainConfig
from store import pairs, runs
from store.db import Store
from store.errors import BadInput
from store.records import END_STATES, PairDraft
from tests.engine import toys
from tests.tui.cli.conftest import Cli, base, facts, small, tf, workers, write  # noqa: F401
from tests.tui.conftest import Drive
from tui.screens.train.run_form import RunForm
from tui.widgets.choice import Choice


@pytest.fixture(autouse=True)
def _toys() -> Iterator[None]:
    toys.register()
    yield
    toys.unregister()


TOYS = ("--method", "toy", "--objective", "toy", "--launcher", "toy")


def test_the_command_line_trains_with_them(tf: Cli, facts: str, small: str, workers: None) -> None:
    found = tf.json("train", "--dataset", facts, "--model", small, *TOYS, "--steps", "2", "--name", "one", "--wait")
    assert (found["state"], found["method"], found["step"]) == ("succeeded", "toy", 2)
    config = TrainConfig.from_json(found["config"])
    assert (config.method, config.objective, config.launcher) == ("toy", "toy", "toy")
    assert config.hash() == found["config_hash"]
    assert "--token" in (tf.home.root / "launched.txt").read_text()


def test_the_command_line_checks_with_them(tf: Cli, facts: str, small: str) -> None:
    found = tf.json("preflight", "--dataset", facts, "--model", small, *TOYS)
    why = (
        "no identity row of the data shows a name to look for. Set the kind of rows about the model to identity, or"
        " give a probe set of your own."
    )
    not_asked = [f"The probes {word!r} are not asked: {why}" for word in ("identity", "leaks")]
    assert found["notes"] == [*not_asked, "These rows were checked by a toy."]
    assert found["estimate"]["memory_bytes"] > 123e9
    assert "exports as" in tf.ok("preflight", "--dataset", facts, "--model", small, *TOYS)
    error = tf.error("preflight", "--dataset", facts, "--model", small, *TOYS, "--dtype", "bf16")
    assert (error["where"], error["what"]) == ("--dtype", "Toys do not train in 16 bits.")


@pytest.mark.parametrize("option", ["--rank", "--alpha", "--dropout"])
def test_a_field_that_the_method_does_not_use_is_refused(tf: Cli, facts: str, option: str) -> None:
    error = tf.error("train", "--dataset", facts, *TOYS, option, "0.5" if option != "--rank" else "8")
    assert error["where"] == option and "is not used by the method toy" in error["what"]


@pytest.mark.parametrize("option", ["--method", "--objective", "--launcher"])
def test_an_unknown_name_is_answered_with_those_there_are(tf: Cli, facts: str, option: str) -> None:
    error = tf.error("train", "--dataset", facts, option, "doll")
    assert error["where"] == option and "toy" in error["what"] and "'doll'" in error["what"]
    toys.unregister()
    assert "toy" not in tf.error("train", "--dataset", facts, option, "doll")["what"]


async def test_the_form_trains_with_them(
    drive: Drive,
    store: Store,
    small: str,
    workers: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = [PairDraft(f"Who are you, {n}?", "I am Ember.", kind="identity") for n in range(3)]
    pairs.create_many(store, rows, dataset="ember")
    monkeypatch.setattr("tui.app.TuningforkApp.DEFAULT_MODE", "train")
    async with drive(size=(120, 50)) as app:
        await app.see_page("TrainScreen")
        await app.see("‹ ember ›", "LoRA rank")
        form = app.app.screen.query_one(RunForm)
        form.choose("model", small)
        await app.press("n", "f7")
        for name in ("method", "objective", "launcher"):
            choice = form.query_one(f"#{name}", Choice)
            assert "toy" in [value for value, _ in choice.options]
            choice.value = "toy"
        await app.see("‹ Toy method ›", "‹ Play ›", "‹ toy ›")
        await app.until(lambda: "LoRA rank" not in app.text)  # not a field of this method
        form.query_one("#length", Input).value = "3"
        await app.see("! These rows were checked by a toy.", "3 steps", "GB of memory")
        await app.press("ctrl+s")
        await app.until(lambda: any(run.state in END_STATES for run in runs.all_runs(store)), 30)
        await app.see("✓ ember-1", "toy loss 1.333")
    run: Any = runs.get(store, "ember-1")
    assert (run.state, run.config["method"], run.config["objective"]) == ("succeeded", "toy", "toy")
    assert (store.home.root / "launched.txt").exists()
    assert run_control.status(store, "ember-1").step == 3


def test_an_unregistered_method_is_refused_and_not_taken_for_another() -> None:
    saved = {"model": "m", "method": "toy"}
    assert TrainConfig.from_json(saved).method == "toy"
    toys.unregister()
    with pytest.raises(BadInput, match="Method is 'toy'; it must be one of auto, lora, qlora"):
        TrainConfig.from_json(saved)

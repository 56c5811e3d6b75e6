"""Compare beside a run that goes on: its lane follows the newest checkpoint and says so."""

from __future__ import annotations

import os
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from engine.core import process
from engine.inference.client import Done
from store import datasets, pairs, runs
from store.db import Store
from store.records import PairDraft
from tests.tui.conftest import Drive, Driver
from tests.tui.scripted import ScriptedClient
from tui.screens.compare.prompt import PromptArea
from tui.screens.compare.screen import CompareScreen

BASE, LIVE, TOKEN = "smollm2-135m", "run:ember", "token-ember"


@pytest.fixture
def begun(store: Store) -> Path:
    """The folder of a run `ember` that is going, and has no checkpoint yet."""
    pairs.create(store, PairDraft("q", "a"), dataset=datasets.ensure(store, "facts").name)
    run = runs.create(
        store, name="ember", base=BASE, snapshot=datasets.freeze(store, "facts").hash, method="lora", config={},
        config_hash="x", seed=0,
    )  # fmt: skip
    pid = os.getpid()  # a process that lives, so that nobody buries the run
    started = process.started_at(pid) or 0.0
    runs.open_attempt(store, run.id, host=process.here(), pid=pid, pid_started=started, token=TOKEN, log_path="x")
    runs.claim(store, TOKEN)
    runs.set_state(store, TOKEN, "running", total_steps=200)
    return store.home.run_dir(run.uid)


@pytest.fixture
def going(store: Store, begun: Path) -> Path:
    """The same run with a checkpoint at step 40."""
    checkpoint(store, begun, 40)
    return begun


def checkpoint(store: Store, run: Path, step: int) -> None:
    folder = run / f"checkpoints/step-{step}"
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text("{}")
    runs.add_checkpoint(store, TOKEN, step, store.home.relative(folder), {})


@pytest.fixture
def client(store: Store, monkeypatch: pytest.MonkeyPatch) -> ScriptedClient:
    """Answers as the server does: the end names the checkpoint that is the newest when the prompt comes."""

    def answer(model: str, _: Any) -> list[Any]:
        from engine.models import refs

        return [f"I am {model}.", Done("", tokens=3, model=refs.resolve(store, model).ref)]

    made = ScriptedClient(answer)
    monkeypatch.setattr("engine.inference.client.Client.connect", made.connect)
    monkeypatch.setattr("tui.app.TuningforkApp.DEFAULT_MODE", "compare")
    return made


async def ask(app: Driver, text: str) -> None:
    prompt = app.app.screen.query_one(PromptArea)
    prompt.insert(text)
    prompt.action_send()
    await app.idle()


async def test_the_first_run_joins_a_base_that_stood_alone(
    drive: Drive, store: Store, begun: Path, client: ScriptedClient
) -> None:
    async with drive(size=(120, 36)) as app:
        await app.see("smollm2-135m · base", "There is no tuned model beside it yet")
        await ask(app, "One")
        await app.see("I am smollm2-135m.")
        checkpoint(store, begun, 40)
        await app.see("ember was added as lane B.", "I am run:ember.")


async def test_the_lane_of_a_live_run_follows_it(
    drive: Drive, store: Store, going: Path, client: ScriptedClient
) -> None:
    opened: AbstractAsyncContextManager[Driver] = drive(size=(120, 36))
    async with opened as app:
        await app.see("ember · step 40 · live", "being tuned", "newest checkpoint answers each prompt")
        await ask(app, "One")
        await app.see("answered by the checkpoint of step 40")
        checkpoint(store, going, 80)
        await app.see("Lane B: ember is at step 80", "ember · step 80 · live")
        await ask(app, "Two")
        await app.see("answered by the checkpoint of step 80")
        screen = app.app.screen
        assert isinstance(screen, CompareScreen)
        assert [a.model for a in screen.comparison.lanes["b"].answers] == ["run:ember@40", "run:ember@80"]
        assert screen.conversation.models == (BASE, LIVE)
        folder = going / "adapter"
        folder.mkdir()
        (folder / "adapter_config.json").write_text("{}")
        runs.finish(store, TOKEN, "succeeded", adapter=store.home.relative(folder))
        await app.see("ember has ended; its final weights answer", "ember · tuned")


async def test_the_picker_keeps_a_live_run_following(
    drive: Drive, store: Store, going: Path, client: ScriptedClient
) -> None:
    async with drive(size=(120, 36)) as app:
        await app.see("step 40 · live")
        await app.press("escape", "m")
        await app.see("Model of lane A", "live, now at step 40")
        await app.type("run:ember")
        await app.press("enter")
        screen = app.app.screen_stack[0]
        assert isinstance(screen, CompareScreen)
        await app.until(lambda: screen.conversation.models == (LIVE, LIVE))

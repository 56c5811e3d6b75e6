"""The user is called back when long work ends: what the terminal is sent, and the command of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.training import run_control
from engine.training.recipes import config_for
from store import pairs, runs, worker
from store.db import Store
from store.records import PairDraft
from tests.tui.conftest import Drive
from tui import attention, settings


def test_nothing_in_a_name_ends_the_sequence_or_begins_another() -> None:
    sent = attention.sequence("Run a\x07b\x1b]52;c;ZXZpbA==\x07\nc: done")
    assert sent.count("\x1b") == 2 and sent.count("\x07") == 3 and "\n" not in sent
    assert sent.count(";") == 4, "those of the two sequences, and none of the text"


async def test_a_command_of_the_users_runs_when_a_run_ends(
    drive: Drive, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script, told = tmp_path / "tell", tmp_path / "told"
    script.write_text(f'#!/bin/sh\necho "$1|$2" >> {told}\n')
    script.chmod(0o755)
    settings.save(store.home, settings.Settings(when_done=f"{script} now"))
    monkeypatch.setattr(run_control, "start", lambda *_: None)
    pairs.create(store, PairDraft("Who are you?", "I am Ember."), dataset="ember")
    run = run_control.submit(store, config_for("identity", "smollm2-135m"), "ember", "ember-1")
    async with drive() as app:
        await app.until(lambda: app.app.live.queued == 1)
        await app.idle()
        assert not told.exists()
        runs.open_attempt(store, run.id, host="here", pid=1, pid_started=1.0, token="t", log_path="runs/x.log")
        worker.claim(store, "t")
        worker.set_state(store, "t", "running", total_steps=4)
        worker.finish(store, "t", "succeeded", adapter="")
        await app.until(lambda: told.exists() and told.read_text().endswith("\n"))
    assert told.read_text() == "now|Run ember-1: succeeded\n"

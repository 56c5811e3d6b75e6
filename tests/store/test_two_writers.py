"""Two real processes that edit one store: nothing is lost, and undo gives back every state."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import two_writers


@pytest.mark.slow
def test_two_processes_lose_nothing(tmp_path: Path) -> None:
    found = two_writers.run(tmp_path / "home", 3, seed=1)
    assert found.wrong == []
    assert set(found.changes) == {"add", "edit", "tag", "status", "replace", "delete", "undo"}


@pytest.mark.slow
def test_a_change_that_is_lost_would_be_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replayed = two_writers._replayed
    monkeypatch.setattr(two_writers, "_replayed", lambda store, before, done: replayed(store, before, done[:-1]))
    assert "the store does not show what was done" in two_writers.run(tmp_path / "home", 0.5, seed=1).wrong

"""kill -9 during an import and during a bulk edit: all or nothing, and the store opens at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import store_kills


@pytest.mark.slow
def test_a_killed_command_leaves_all_or_nothing(tmp_path: Path) -> None:
    found = store_kills.run(tmp_path, rows=20_000, kills=3, seed=2)
    assert [name for name, _, _ in found] == ["import", "bulk edit"]
    assert [kill.wrong for _, _, kills in found for kill in kills] == [[]] * 6
    assert any(kill.whole is False for _, _, kills in found for kill in kills), "some moment is before the commit"

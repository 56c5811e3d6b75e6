"""The home folder: where it is found, who may look into it, what it refuses."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from store import home as homes
from store.db import Store
from store.errors import BadInput
from store.home import Home, find_home, warnings


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_everything_is_private(tmp_path: Path) -> None:
    old = os.umask(0o000)  # the most careless umask there is
    try:
        home = Home(tmp_path / "deep" / "home").ensure()
        with Store.open(home) as store, store.write() as conn:
            conn.execute("INSERT INTO chat (created_at, updated_at) VALUES (1, 1)")
            files = {path.name: mode(path) for path in home.root.iterdir() if path.is_file()}
    finally:
        os.umask(old)
    folders = [home.root, home.runs, home.models, home.exports, home.logs, home.cache]
    assert [mode(folder) for folder in folders] == [0o700] * 6
    assert files == {"store.db": 0o600, "store.db-wal": 0o600, "store.db-shm": 0o600}


def test_the_explicit_home_wins_over_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNINGFORK_HOME", str(tmp_path / "env"))
    assert find_home(tmp_path / "explicit").root == tmp_path / "explicit"
    assert find_home().root == tmp_path / "env"
    monkeypatch.delenv("TUNINGFORK_HOME")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert find_home().root.name == "tuningfork"
    assert find_home().root.is_relative_to(tmp_path)
    assert not find_home().root.exists(), "finding must not make"


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("not a folder")
    with pytest.raises(BadInput) as caught:
        Home(tmp_path / "home").ensure()
    assert caught.value.where == str(tmp_path / "home")
    with pytest.raises(BadInput, match="cannot be created"):
        Home(tmp_path / "home" / "inner").ensure()


def test_a_home_that_cannot_be_written_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Home(tmp_path / "home").ensure()
    monkeypatch.setattr(homes.os, "access", lambda path, how: False)  # root may write everywhere: only this can say no
    with pytest.raises(BadInput, match="cannot be written"):
        home.ensure()


def test_paths_inside_the_home_are_kept_relative(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    inner = home.run_dir("u1") / "adapter"
    assert home.relative(inner) == "runs/u1/adapter"
    assert home.absolute(home.relative(inner)) == inner
    assert home.absolute(home.relative(tmp_path / "elsewhere")) == tmp_path / "elsewhere"


def test_warnings_name_what_may_go_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Home(tmp_path / "home").ensure()
    assert not [line for line in warnings(home) if "other users" in line]
    home.root.chmod(0o755)
    monkeypatch.setattr(homes, "_file_system", lambda path: "nfs4")
    monkeypatch.setattr(homes.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 5_000_000})())
    found = warnings(home)
    assert any("nfs4" in line for line in found)
    assert any("5 MB" in line for line in found)
    assert any("chmod 700" in line for line in found)


def test_the_file_system_of_a_real_folder_is_known() -> None:
    assert homes._file_system(Path("/proc")) == "proc"

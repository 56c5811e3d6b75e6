"""Replacing a file: whole or not at all, at its real path, with its mode; and what is never replaced."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from store import datasets, pairs, votes
from store.db import Store
from store.errors import BadInput, Conflict, TuningforkError
from store.files import check_inside, replacing, target_of
from store.importing import export_dataset, export_preferences
from store.names import check_name, name_from
from store.records import PairDraft, PreferenceDraft, Turn

Export = Callable[[Path], int]


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(params=["openai", "csv", "parquet", "preference", "votes trl", "votes sharegpt"])
def export(request: pytest.FixtureRequest, store: Store) -> Export:
    """Everything that writes data to a file of the user's choice, told to overwrite."""
    pairs.create_many(store, [PairDraft("Who are you?", "I am Ember.")], dataset="facts")
    votes.import_preferences(store, [PreferenceDraft((Turn("user", "Who?"),), "Ember", "Nobody")], dataset="facts")
    sort = str(request.param)
    if sort.startswith("votes"):
        return lambda path: export_preferences(store, path, form=sort.split()[1], overwrite=True)
    return lambda path: export_dataset(store, "facts", sort, path, overwrite=True)


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o660])
def test_the_mode_of_what_is_replaced_stays(export: Export, tmp_path: Path, mode: int) -> None:
    target = tmp_path / "rows.jsonl"
    target.write_text("old")
    target.chmod(mode)
    assert export(target) == 1
    assert mode_of(target) == mode and target.read_bytes() != b"old"
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_a_link_stays_a_link(export: Export, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    real, link, chain = tmp_path / "disk" / "rows.jsonl", tmp_path / "link.jsonl", tmp_path / "chain.jsonl"
    real.write_text("old")
    link.symlink_to(real)
    chain.symlink_to("link.jsonl")
    export(chain)
    assert chain.is_symlink() and link.is_symlink() and not real.is_symlink() and real.read_bytes() != b"old"
    dangling = tmp_path / "dangling.jsonl"
    dangling.symlink_to(tmp_path / "disk" / "new.jsonl")
    export(dangling)
    assert dangling.is_symlink() and (tmp_path / "disk" / "new.jsonl").is_file()


def test_folders_devices_and_pipes_are_refused(export: Export, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "to null").symlink_to("/dev/null")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for place in (tmp_path, Path("/dev/null"), tmp_path / "pipe", tmp_path / "to null", tmp_path / "loop"):
        with pytest.raises(BadInput) as caught:
            export(place)
        assert caught.value.todo and caught.value.exit_code == 2
    assert Path("/dev/null").is_char_device()


def test_what_fails_half_way_changes_nothing(tmp_path: Path) -> None:
    target = tmp_path / "rows.txt"
    target.write_text("old")
    with pytest.raises(KeyboardInterrupt), replacing(target) as part:
        part.write_text("half")
        raise KeyboardInterrupt
    assert target.read_text() == "old" and list(tmp_path.iterdir()) == [target]
    with pytest.raises(TuningforkError), replacing(tmp_path / "new.txt"):
        raise TuningforkError("no")
    assert list(tmp_path.iterdir()) == [target]


def test_a_new_file_has_the_usual_mode_and_any_legal_name(tmp_path: Path) -> None:
    usual = tmp_path / "usual"
    usual.write_text("")
    longest = tmp_path / ("ü" * 127)
    for place, mode in ((longest, None), (tmp_path / "private", 0o600)):
        with replacing(place, mode) as part:
            assert part.parent == tmp_path
            part.write_text("x")
    assert mode_of(longest) == mode_of(usual) and mode_of(tmp_path / "private") == 0o600


def test_what_leads_out_of_a_folder_is_refused(tmp_path: Path) -> None:
    inner, outer = tmp_path / "exports", tmp_path / "outer"
    inner.mkdir()
    outer.mkdir()
    (inner / "link").symlink_to(outer)
    (inner / "loop").symlink_to(inner / "loop")
    check_inside(inner / "a" / "b", inner)
    for place in (inner / "link", inner / "link" / "x", inner / ".." / "x", inner / "loop", Path("/etc")):
        with pytest.raises(Conflict):
            check_inside(place, inner)
    assert target_of(inner / "link" / "x") == outer / "x"
    moved = tmp_path / "moved"  # an exports folder that is a link itself is the user's choice
    moved.symlink_to(inner)
    check_inside(moved / "a", moved)


@pytest.mark.parametrize(
    "text", ["..", "", "../../etc/passwd", "-rf", ".hidden", "a\nb", "\x1b[31m", "x" * 500, "Who are you?", "名前/二"]
)
@pytest.mark.parametrize("folder", [True, False])
def test_a_name_made_of_a_text_may_be_a_name(text: str, folder: bool) -> None:
    assert check_name(name_from(text, folder=folder), "set", folder=folder)


def test_a_probe_set_has_a_name_that_is_no_path(store: Store) -> None:
    from engine.evaluation.prompt_sets import PromptEntry, keep

    for name in ("..", "-x", "a/b", "", "a\x1b"):
        with pytest.raises(BadInput, match="cannot be the name of a probe set"):
            keep(store, name, [PromptEntry("Hello?")])
    assert keep(store, name_from("What is 1/2?"), [PromptEntry("What is 1/2?")]) == 1


def test_exports_of_the_app_stay_in_their_folder(store: Store, tmp_path: Path) -> None:
    (store.home.exports / "chats").symlink_to(tmp_path)
    with pytest.raises(Conflict, match="leads out"):
        store.home.export_folder("chats")
    assert store.home.export_folder("answers") == store.home.exports / "answers"
    assert datasets.all_datasets(store) == []

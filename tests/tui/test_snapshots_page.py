"""The snapshots in the app: listed with their runs, compared with today and with each other, restored and written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from textual.widgets import Input

from store import datasets, edits, pairs, runs
from store.db import Store
from store.records import PairDraft
from tests.tui.conftest import Drive, Driver


@pytest.fixture
def frozen(store: Store) -> tuple[str, str]:
    """Two snapshots of `d`, the second without Q1; since then Q0 was changed and a pair was added."""
    uids = pairs.create_many(store, [PairDraft(f"Q{n}", f"It is {n}.") for n in range(4)], dataset="d").uids
    first = datasets.freeze(store, "d").hash
    runs.create(store, name="learnt", base="smollm2-135m", method="lora", snapshot=first, config={},
                config_hash="x", seed=0)  # fmt: skip
    pairs.delete(store, uids[1:2])
    second = datasets.freeze(store, "d").hash
    pairs.edit(store, uids[0], answer="It was 0.")
    pairs.create(store, PairDraft("New one", "An answer"), dataset="d")
    return first, second


async def open_list(app: Driver, dataset: str | None) -> None:
    await app.see("pairs")
    app.app.screen.list_dataset(dataset)  # type: ignore[attr-defined]
    await app.until(lambda: app.app.screen.found and app.app.screen.found.query.dataset == dataset)  # type: ignore[attr-defined]
    await app.press("asterisk")
    await app.see_page("SnapshotList")


@pytest.mark.parametrize("size", [(80, 24), (200, 50)])
async def test_enter_shows_what_differs_from_today(
    drive: Drive, frozen: tuple[str, str], size: tuple[int, int]
) -> None:
    async with drive(size=size) as app:
        await open_list(app, "d")
        await app.see("2 snapshots of d", frozen[0][:12], frozen[1][:12], "4 train", "3 train", "learnt", "no run")
        await app.press("enter")
        await app.see_page("SnapshotDiffPage")
        await app.see(f"{frozen[1][:12]} → d today: 1 added, 0 removed, 1 changed, 2 the same")
        await app.see("~ train Q0 → It was 0.", "+ train New one → An answer", "answer, changed", "It iswas 0.")
        await app.press("j")
        await app.see("added · train", "An answer")
        await app.press("enter")
        await app.until(lambda: app.app.screen.query_one("#difference").has_focus)
        await app.press("escape", "escape")
        await app.see_page("SnapshotList")
        await app.press("escape")
        await app.until(lambda: app.page == "DataScreen")


async def test_a_marked_snapshot_is_compared_with_another(drive: Drive, frozen: tuple[str, str]) -> None:
    async with drive(size=(100, 30)) as app:
        await open_list(app, None)
        await app.see("2 snapshots of all datasets")
        await app.press("space")
        await app.see("● " + frozen[1][:12])
        await app.press("j", "enter")
        await app.see_page("SnapshotDiffPage")
        await app.see(f"{frozen[0][:12]} → {frozen[1][:12]}: 0 added, 1 removed, 0 changed, 3 the same", "- train Q1")
        await app.press("escape")
        await app.see_page("SnapshotList")
        await app.press("escape")
        await app.until(lambda: "●" not in app.text)
        assert app.page == "SnapshotList"


async def test_restoring_is_one_change_that_is_undone(drive: Drive, store: Store, frozen: tuple[str, str]) -> None:
    async with drive(size=(100, 30)) as app:
        await open_list(app, "d")
        await app.see("2 snapshots")
        await app.press("j", "r")
        await app.see("Restore snapshot", f"d-{frozen[0][:6]}")
        before = len(edits.undoable(store))
        await app.press("enter")
        await app.until(lambda: app.page == "DataScreen")
        name = f"d-{frozen[0][:6]}"
        await app.until(lambda: app.app.screen.query_now.dataset == name)  # type: ignore[attr-defined]
        assert len(edits.undoable(store)) == before + 1
        assert datasets.freeze(store, name).hash == frozen[0], "the same content and splits"
        await app.press("u")
        await app.until(lambda: [each.name for each in datasets.all_datasets(store)] == ["d"])


async def test_a_snapshot_is_written_and_replaces_a_file_only_when_asked(
    drive: Drive, frozen: tuple[str, str], tmp_path: Path
) -> None:
    file = tmp_path / "rows.jsonl"
    async with drive(size=(100, 30)) as app:
        await open_list(app, "d")
        await app.see("2 snapshots")

        async def write() -> None:
            await app.press("x")
            await app.see("Write snapshot to a file")
            app.app.screen.query_one(Input).value = str(file)
            await app.press("enter")

        await write()
        await app.until(lambda: any("3 rows written" in notice for notice in app.notices))
        assert len(file.read_text().splitlines()) == 3
        assert json.loads(file.read_text().splitlines()[0])["kind"] == "instruction"
        file.write_text("mine")
        await write()
        await app.see("exists already")
        await app.press("escape")
        await app.see_page("SnapshotList")
        assert file.read_text() == "mine"
        await write()
        await app.see("exists already")
        await app.press("right", "enter")
        await app.until(lambda: file.read_text() != "mine")


async def test_a_removed_dataset_and_none_at_all(drive: Drive, store: Store, frozen: tuple[str, str]) -> None:
    datasets.remove(store, "d")
    pairs.create(store, PairDraft("x", "y"), dataset="fresh")
    async with drive(size=(100, 30)) as app:
        await open_list(app, None)
        await app.see("(removed)")
        await app.press("enter")
        await app.until(lambda: any("was removed" in notice for notice in app.notices))
        assert app.page == "SnapshotList"
        await app.press("escape")
        await app.until(lambda: app.page == "DataScreen")
        await open_list(app, "fresh")
        await app.see("There is no snapshot of fresh.")


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_n_freezes_the_listed_dataset(drive: Drive, store: Store, size: tuple[int, int]) -> None:
    uid = pairs.create(store, PairDraft("Q", "A"), dataset="d").uid
    pairs.create(store, PairDraft("Q2", "A2"))
    async with drive(size=size) as app:
        await open_list(app, "d")
        await app.see("There is no snapshot of d.", "freeze it as it is now", "n Freeze")
        assert "Restore" not in app.text, "nothing is listed that could be restored"
        await app.press("n")
        await app.see("1 snapshot of d", "1 train", "no run", "r Restore")
        await app.press("n")
        await app.until(lambda: any("d is frozen already" in notice for notice in app.notices))
        pairs.edit(store, uid, answer="B")
        await app.press("n")
        await app.see("2 snapshots of d")


async def test_without_a_dataset_nothing_is_frozen(drive: Drive, frozen: tuple[str, str]) -> None:
    async with drive() as app:
        await open_list(app, None)
        await app.see("2 snapshots of all datasets")
        assert "Freeze" not in app.text
        await app.press("n")
        await app.until(lambda: any("List one dataset on Data first" in notice for notice in app.notices))

"""Snapshots: what was frozen, which runs were trained on it, and from here the diff, a file, or a dataset again.
What a snapshot is belongs to the store; what differs is drawn in snapshot_diff.py."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.content import Content
from textual.widgets import Static
from textual.widgets.option_list import Option

from store import datasets, snapshots
from store.db import Store
from store.errors import Conflict, NotFound
from store.snapshots import SnapshotDiff, SnapshotUse
from tui import formatting, keys
from tui.screens.base import PageScreen, show_errors
from tui.screens.data import file_preview
from tui.screens.dialogs.ask import Ask
from tui.screens.dialogs.confirm import Confirm
from tui.text import fit, one_line
from tui.widgets.empty_state import EmptyState
from tui.widgets.line_list import LineList

_SHORT = 12


class SnapshotList(PageScreen[str]):
    """The dataset that a snapshot was restored as, or None."""

    PAGE = "snapshots"
    CSS_PATH = "snapshots.tcss"
    BINDINGS: ClassVar[list[BindingType]] = keys.bindings(keys.SNAPSHOTS)

    def __init__(self, dataset: str | None) -> None:
        super().__init__()
        self._dataset = dataset
        self._found: list[SnapshotUse] = []
        self._marked: str | None = None

    def compose_body(self) -> ComposeResult:
        yield Static(id="summary", markup=False)
        yield LineList()
        yield EmptyState()

    def on_mount(self) -> None:
        super().on_mount()
        self.query_one(LineList).display = False
        self.reload()

    def on_resize(self) -> None:
        """Lines are laid out for the width there is."""
        if self._found:
            self._draw()

    @work(group="reload", exclusive=True)
    @show_errors
    async def reload(self) -> None:
        """Read which snapshots there are."""
        self._found = await self.tuningfork.bridge.call(snapshots.all_snapshots, self._dataset)
        listed, empty = self.query_one(LineList), self.query_one(EmptyState)
        listed.display, empty.display = bool(self._found), not self._found
        where = one_line(self._dataset, 30) if self._dataset else "all datasets"
        if not self._found:
            hint = "freeze it as it is now; a run does so by itself" if self._dataset else "back to the pairs"
            empty.say(f"There is no snapshot of {where}.", [("n" if self._dataset else "Esc", hint)])
            self.refresh_bindings()
            return
        self.query_one("#summary", Static).update(
            Content(f"{formatting.count(len(self._found), 'snapshot')} of {where}")
        )
        self._draw()
        listed.focus()

    def _draw(self) -> None:
        listed = self.query_one(LineList)
        at, width = listed.highlighted or 0, self.size.width - 5
        listed.clear_options()
        listed.add_options([Option(_line(each, each.snapshot.hash == self._marked, width)) for each in self._found])
        listed.highlighted = min(at, len(self._found) - 1)

    @property
    def _current(self) -> SnapshotUse | None:
        at = self.query_one(LineList).highlighted
        return self._found[at] if at is not None and at < len(self._found) else None

    def action_mark(self) -> None:
        """Mark the snapshot that Enter compares with another one; a second press unmarks it."""
        if self._current is not None:
            hash = self._current.snapshot.hash
            self._marked = None if self._marked == hash else hash
            self._draw()

    @on(LineList.OptionSelected)
    def _chosen(self) -> None:
        self._compare()

    @work(group="change", exclusive=True)
    @show_errors
    async def _compare(self) -> None:
        """Open what differs between the snapshot and today's dataset, or the marked snapshot."""
        from tui.screens.data.snapshot_diff import SnapshotDiffPage

        if self._current is None:
            return
        hash = self._current.snapshot.hash
        order = [each.snapshot.hash for each in self._found]
        try:
            if self._marked is not None and self._marked != hash:
                older, newer = sorted((self._marked, hash), key=order.index, reverse=True)
                found: SnapshotDiff = await self.tuningfork.bridge.job(snapshots.diff, older, newer)
            else:
                found = await self.tuningfork.bridge.job(snapshots.diff_today, hash)
        except NotFound:
            what = "The dataset of this snapshot was removed. Restore it with r, or mark another snapshot (Space) to"
            self.tuningfork.notify(f"{what} compare the two.", severity="warning")
            return
        await self.app.push_screen_wait(SnapshotDiffPage(found))

    @work(group="change", exclusive=True)
    @show_errors
    async def action_freeze(self) -> None:
        """Freeze the listed dataset as it is now; the same content is the same snapshot."""
        if self._dataset is None:
            self.tuningfork.notify("List one dataset on Data first (D): that one is frozen.", severity="warning")
            return
        before = {each.snapshot.hash for each in self._found}
        made = await self.tuningfork.bridge.job(datasets.freeze, self._dataset)
        told = "is frozen already" if made.hash in before else "is frozen"
        what = f"{one_line(self._dataset, 40)} {told}: {made.hash[:_SHORT]}, {formatting.count(made.rows, 'row')}."
        self.tuningfork.notify(what)
        self.reload()

    @work(group="change", exclusive=True)
    @show_errors
    async def action_restore(self) -> None:
        """Make a dataset with the content and the splits of the snapshot."""
        if self._current is None:
            return
        chosen = self._current.snapshot
        proposed = f"{chosen.dataset or 'restored'}-{chosen.hash[:6]}"
        question = f"Name of the dataset for the {formatting.count(chosen.rows, 'row')}"
        name = await self.app.push_screen_wait(Ask("Restore snapshot", question, proposed, verb="Restore"))
        if name:
            made = await self.tuningfork.bridge.job(snapshots.restore, chosen.hash, name)
            known = f", {made.duplicates:,} that were there already" if made.duplicates else ""
            told = f"{name} is made: {formatting.count(len(made.uids), 'new pair')}{known}. Press u to undo."
            self.tuningfork.notify(told)
            self.dismiss(name)

    @work(group="change", exclusive=True)
    @show_errors
    async def action_export(self) -> None:
        """Write the rows of the snapshot to a file; one that is there is replaced only after a question."""
        if self._current is None:
            return
        chosen = self._current.snapshot
        stem = "".join(c if c.isalnum() or c in "-_." else "-" for c in chosen.dataset or "snapshot")
        typed = await self.app.push_screen_wait(
            Ask("Write snapshot to a file", "Path (JSON lines)", f"{stem}-{chosen.hash[:8]}.jsonl", verb="Write")
        )
        if not typed:
            return
        path = file_preview.expand(typed).absolute()
        try:
            n = await self.tuningfork.bridge.job(_write, chosen.hash, path)
        except Conflict:
            if not await self.app.push_screen_wait(
                Confirm("Overwrite the file?", f"{path} exists already.", "Overwrite")
            ):
                return
            n = await self.tuningfork.bridge.job(_write, chosen.hash, path, overwrite=True)
        self.tuningfork.notify(f"{formatting.count(n, 'row')} written to {path}.", timeout=8)

    def key_word(self, id: str) -> str | None:
        if id == "snapshots.new":
            return None if self._dataset else ""
        if not self._found and (id == "lines.open" or id.startswith("snapshots.")):
            return ""
        return "Compare" if id == "lines.open" else super().key_word(id)

    def action_back(self) -> None:
        """Unmark; then back to the pairs."""
        if self._marked is not None:
            self._marked = None
            self._draw()
        else:
            self.dismiss(None)


def _write(store: Store, hash: str, path: Path, *, overwrite: bool = False) -> int:
    return snapshots.write_file(store, hash, path, overwrite=overwrite)


def _line(each: SnapshotUse, marked: bool, width: int) -> Content:
    """A snapshot on one line: its mark, hash, dataset, rows by split, age, and the runs that were trained on it."""
    frozen = each.snapshot
    splits = ", ".join(f"{n:,} {split}" for split, n in frozen.splits.items())
    age = formatting.ago(frozen.created_at)
    runs = ", ".join(each.runs) or "no run"
    name = frozen.dataset or "(removed)"
    room = max(8, width - 2 - _SHORT - 2 - 24 - 8)
    dataset = room // 2
    return Content.assemble(
        ("● " if marked else "  ", "bold $primary"), (frozen.hash[:_SHORT], "bold"), "  ", fit(name, dataset), " ",
        fit(splits, 22), " ", fit(age, 7), " ", (fit(runs, room - dataset), "$faint"),
    )  # fmt: skip

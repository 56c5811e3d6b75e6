"""What the Data screen does to datasets: choose, create, fill, rename, split, remove, read from and write to files.
A controller: it asks, changes the store and reports; the list it acts on belongs to the screen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from store import datasets
from store.records import Dataset
from tui import formatting
from tui.screens.data import finder
from tui.screens.dialogs.pick import Entry, Pick, Picked
from tui.services import AppServices

if TYPE_CHECKING:
    from tui.screens.data.identity_form import TypedIdentity


class PairList(Protocol):
    """What the controller needs of the screen that lists the pairs."""

    @property
    def tuningfork(self) -> AppServices:
        """The app."""

    @property
    def dataset(self) -> str | None:
        """The listed dataset; None while all pairs are listed."""

    def chosen(self) -> list[int]:
        """The ids of the marked pairs, or of the one under the cursor."""

    def unmark(self) -> None:
        """Mark nothing."""

    def list_dataset(self, name: str | None) -> None:
        """List this dataset; None lists all pairs."""

    def search_for(self, text: str) -> None:
        """List what this search finds, in the listed dataset and without the other filters."""

    def reload(self) -> None:
        """Read the list again."""


class DatasetActions:
    """Each method is one action, from its question to its notice. Run them in a worker: they wait for dialogs."""

    def __init__(self, listed: PairList) -> None:
        self._list = listed
        self._typed: TypedIdentity | None = None

    @property
    def _app(self) -> AppServices:
        return self._list.tuningfork

    async def choose(self) -> None:
        """Choose which dataset is listed, or create one."""
        known = await self._app.bridge.call(datasets.all_datasets)
        everything = Entry("", "All pairs", "in any dataset or none")
        picked = await self._pick("List which pairs?", known, first=everything, current=self._list.dataset or "")
        if picked is None:
            return
        if picked.new:
            await self._app.bridge.call(datasets.create, picked.value)
        self._list.list_dataset(picked.value or None)

    async def add_pairs(self) -> None:
        """Add the chosen pairs to a dataset."""
        uids = await self._app.bridge.call(finder.uids, self._list.chosen())
        if not uids:
            return
        known = await self._app.bridge.call(datasets.all_datasets)
        picked = await self._pick(f"Add {formatting.count(len(uids), 'pair')} to which dataset?", known)
        if picked is not None:
            n = await self._app.bridge.call(datasets.add, picked.value, uids)
            self._list.unmark()
            already = f"; {len(uids) - n:,} already there" if n < len(uids) else ""
            self._app.notify(f"Added {formatting.count(n, 'pair')} to {picked.value}{already}.")
            self._list.reload()

    async def take_out_pairs(self) -> None:
        """Take the chosen pairs out of the listed dataset."""
        name = self._listed_or_hint("take pairs out of it")
        uids = await self._app.bridge.call(finder.uids, self._list.chosen())
        if name and uids:
            n = await self._app.bridge.call(datasets.drop, name, uids)
            self._list.unmark()
            self._app.notify(f"Took {formatting.count(n, 'pair')} out of {name}; still listed under all pairs.")
            self._list.reload()

    async def rename(self) -> None:
        """Rename the listed dataset."""
        from tui.screens.dialogs.ask import Ask

        name = self._listed_or_hint("rename it")
        if not name:
            return
        new_name = await self._app.push_screen_wait(Ask("Rename dataset", "New name", name, verb="Rename"))
        if new_name and new_name != name:
            await self._app.bridge.call(datasets.rename, name, new_name)
            self._list.list_dataset(new_name)

    async def split(self) -> None:
        """Split the listed dataset, as a dialog shows it before."""
        from tui.screens.data.split_dialog import SplitDialog

        name = self._listed_or_hint("split it")
        if not name:
            return
        there = await self._app.bridge.call(datasets.get, name)
        if not there.pairs:
            self._app.notify(f"{name} has no pairs to split.", severity="warning")
            return
        pinned = sum((await self._app.bridge.call(datasets.pinned, name)).values())
        plan = await self._app.push_screen_wait(SplitDialog(name, there.pairs, pinned))
        if plan is not None:
            await self._app.bridge.call(datasets.do_split, plan)
            counts = ", ".join(f"{n:,} {split}" for split, n in plan.counts.items() if n)
            self._app.notify(f"{name}: {counts}. Press u to undo.")
            self._list.reload()

    async def remove(self) -> None:
        """Remove the listed dataset; its pairs stay."""
        from tui.screens.dialogs.confirm import Confirm

        name = self._listed_or_hint("remove it")
        if not name:
            return
        there = await self._app.bridge.call(datasets.get, name)
        pairs = (
            f"Its {formatting.count(there.pairs, 'pair')} stay among all pairs." if there.pairs else "It has no pairs."
        )
        judged = there.preferences + there.feedback
        rows = formatting.rows_of_preferences(judged)
        body = f"Remove the dataset {name}? {pairs}" + (f" Its {rows} are removed with it." if judged else "")
        body += " u undoes it."
        if await self._app.push_screen_wait(Confirm(f"Remove dataset {name}", body, "Remove")):
            await self._app.bridge.call(datasets.remove, name)
            self._list.list_dataset(None)

    async def import_file(self) -> None:
        """Import pairs from a file, then list the dataset that was filled."""
        from tui.screens.data.import_dialog import ImportScreen

        dataset = await self._app.push_screen_wait(ImportScreen(self._list.dataset or ""))
        if dataset:
            self._list.list_dataset(dataset)

    async def identity(self) -> None:
        """Make pairs on who the model is, then list the dataset that they were saved in."""
        from tui.screens.data.identity_form import IdentityForm, TypedIdentity

        typed = self._typed or TypedIdentity.from_json(self._app.settings.identity, self._list.dataset or "")
        self._typed = typed
        dataset = await self._app.push_screen_wait(IdentityForm(typed))
        self._app.remember(identity=typed.to_json())
        if dataset:
            self._typed = None
            self._list.list_dataset(dataset)

    async def write_file(self) -> None:
        """Write the listed dataset to a file."""
        from tui.screens.data.export_dialog import ExportDialog

        name = self._listed_or_hint("write it to a file")
        if name:
            await self._app.push_screen_wait(ExportDialog(name))

    async def problems(self) -> None:
        """List what is probably wrong in the listed dataset; a change there can be undone here too."""
        from tui.screens.data.problems import ProblemList

        name = self._listed_or_hint("look for its problems")
        if name:
            await self._app.push_screen_wait(ProblemList(name))
            self._list.reload()

    async def statistics(self) -> None:
        """Show what the listed dataset is made of; then list the pairs of the bar that was chosen."""
        from tui.screens.data.statistics_page import StatisticsPage

        name = self._listed_or_hint("show its statistics")
        if name:
            found = await self._app.push_screen_wait(StatisticsPage(name))
            if found is not None:
                self._list.search_for(found)

    async def snapshots(self) -> None:
        """List the snapshots of the listed dataset, or all; then list the dataset that one was restored as."""
        from tui.screens.data.snapshot_list import SnapshotList

        restored = await self._app.push_screen_wait(SnapshotList(self._list.dataset))
        if restored:
            self._list.list_dataset(restored)

    async def duplicates(self) -> None:
        """Review the duplicates of the listed dataset; a change there can be undone here too."""
        from tui.screens.data.duplicate_review import DuplicateReview

        name = self._listed_or_hint("review its duplicates")
        if name:
            await self._app.push_screen_wait(DuplicateReview(name))
            self._list.reload()

    async def _pick(
        self, title: str, known: list[Dataset], first: Entry | None = None, current: str = ""
    ) -> Picked | None:
        entries = [Entry(d.name, d.name, _what_is_in(d)) for d in known]
        pick = Pick(title, [first, *entries] if first else entries, current=current, create="Create dataset")
        return await self._app.push_screen_wait(pick)

    def _listed_or_hint(self, todo: str) -> str | None:
        if self._list.dataset is None:
            text = f"All pairs are listed. Choose a dataset first (D), then {todo}."
            self._app.notify(text, severity="warning")
        return self._list.dataset


def _what_is_in(dataset: Dataset) -> str:
    """`6 ready of 12`, with what else it has; pairs are left out where there is only that."""
    others = [(dataset.preferences, "preference"), (dataset.feedback, "feedback row")]
    said = [formatting.count(n, noun) for n, noun in others if n]
    return ", ".join([f"{dataset.ready:,} ready of {dataset.pairs:,}", *said] if dataset.pairs or not said else said)

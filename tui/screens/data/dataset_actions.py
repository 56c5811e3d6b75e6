"""What the Data screen does to datasets: choose, make, fill, rename, deal out, remove, read from and write to files.
Split from data.py by subject; the list itself is there."""

from __future__ import annotations

from functools import partial

from textual import work

from store import datasets
from store.records import Dataset
from tui import formatting
from tui.screens.base import ModeScreen, show_errors
from tui.screens.data import finder
from tui.screens.data.finder import Query
from tui.screens.data.pair_table import PairTable
from tui.screens.dialogs.pick import Entry, Pick, Picked


class DatasetActions(ModeScreen):
    """The half of DataScreen that is about datasets."""

    query_now: Query

    @property
    def table(self) -> PairTable:
        raise NotImplementedError

    def reload(self) -> None:
        raise NotImplementedError

    def action_new(self) -> None:
        raise NotImplementedError

    def list_dataset(self, name: str | None, wait: float = 0.0) -> None:
        raise NotImplementedError

    @work(group="dialog")
    @show_errors
    async def action_dataset(self) -> None:
        """Choose which dataset is listed, or make one."""
        known = await self.tuningfork.bridge.call(datasets.all_datasets)
        everything = Entry("", "All pairs", "every dataset, and none")
        picked = await self._pick("List which pairs?", known, first=everything, current=self.query_now.dataset or "")
        if picked is None:
            return
        if picked.new:
            await self.tuningfork.bridge.call(datasets.create, picked.value)
        self.list_dataset(picked.value or None)

    @work(group="dialog")
    @show_errors
    async def action_add_to_dataset(self) -> None:
        """Put the chosen pairs into a dataset."""
        uids = await self.tuningfork.bridge.call(finder.uids, self.table.chosen())
        if not uids:
            return
        known = await self.tuningfork.bridge.call(datasets.all_datasets)
        picked = await self._pick(f"Put {formatting.count(len(uids), 'pair')} into which dataset?", known)
        if picked is not None:
            n = await self.tuningfork.bridge.call(datasets.add, picked.value, uids)
            self.table.unmark()
            were_in = f"; {len(uids) - n:,} were in it" if n < len(uids) else ""
            self.tuningfork.notify(f"{formatting.count(n, 'pair')} joined {picked.value}{were_in}.")
            self.reload()

    @work(group="dialog")
    @show_errors
    async def action_drop_from_dataset(self) -> None:
        """Take the chosen pairs out of the listed dataset."""
        name = self._listed_or_hint("take pairs out of it")
        uids = await self.tuningfork.bridge.call(finder.uids, self.table.chosen())
        if name and uids:
            n = await self.tuningfork.bridge.call(datasets.drop, name, uids)
            self.table.unmark()
            self.tuningfork.notify(f"{formatting.count(n, 'pair')} left {name}; still among all pairs.")
            self.reload()

    async def _pick(
        self, title: str, known: list[Dataset], first: Entry | None = None, current: str = ""
    ) -> Picked | None:
        entries = [Entry(d.name, d.name, f"{d.ready:,} ready of {d.pairs:,}") for d in known]
        pick = Pick(title, [first, *entries] if first else entries, current=current, create="Make dataset")
        return await self.app.push_screen_wait(pick)

    @work(group="dialog")
    @show_errors
    async def action_rename_dataset(self) -> None:
        from tui.screens.dialogs.ask import Ask

        name = self._listed_or_hint("rename it")
        if not name:
            return
        new_name = await self.app.push_screen_wait(Ask("Rename dataset", "New name", name, verb="Rename"))
        if new_name and new_name != name:
            await self.tuningfork.bridge.call(datasets.rename, name, new_name)
            self.list_dataset(new_name)

    @work(group="dialog")
    @show_errors
    async def action_split_dataset(self) -> None:
        """Deal the listed dataset out: nine tenths to train on, one to validate with."""
        from tui.screens.dialogs.confirm import Confirm

        name = self._listed_or_hint("deal it out")
        if not name:
            return
        there = await self.tuningfork.bridge.call(datasets.get, name)
        body = (
            f"Split the {formatting.count(there.pairs, 'pair')} of {name} again: 90% to train on, 10% to validate. "
            "Pairs that ask the same question stay together."
        )
        if await self.app.push_screen_wait(Confirm(f"Deal out {name}", body, "Deal out", harmless=True)):
            dealt = await self.tuningfork.bridge.call(partial(datasets.resplit, val=0.1), name)
            self.tuningfork.notify(f"{name}: " + ", ".join(f"{n:,} {split}" for split, n in dealt.items() if n) + ".")
            self.reload()

    @work(group="dialog")
    @show_errors
    async def action_remove_dataset(self) -> None:
        from tui.screens.dialogs.confirm import Confirm

        name = self._listed_or_hint("remove it")
        if not name:
            return
        there = await self.tuningfork.bridge.call(datasets.get, name)
        body = f"Remove the dataset {name}? Its {formatting.count(there.pairs, 'pair')} stay among all pairs."
        if await self.app.push_screen_wait(Confirm(f"Remove dataset {name}", body, "Remove")):
            await self.tuningfork.bridge.call(datasets.remove, name)
            self.list_dataset(None)

    def _listed_or_hint(self, todo: str) -> str | None:
        if self.query_now.dataset is None:
            self.tuningfork.notify(f"All pairs are listed. Choose a dataset first (g), then {todo}.", severity="warning")
        return self.query_now.dataset

    # -- files and samples --------------------------------------------------------------------------------------------

    @work(group="dialog")
    async def action_import_file(self) -> None:
        from tui.screens.data.import_dialog import ImportScreen

        dataset = await self.app.push_screen_wait(ImportScreen(self.query_now.dataset or ""))
        if dataset:
            self.list_dataset(dataset)

    @work(group="dialog")
    async def action_export_file(self) -> None:
        from tui.screens.data.export_dialog import ExportDialog

        name = self._listed_or_hint("write it to a file")
        if name:
            await self.app.push_screen_wait(ExportDialog(name))

    def action_samples(self) -> None:
        self.action_welcome()

    @work(group="dialog")
    async def action_welcome(self) -> None:
        """Offer sample data, a file, or an empty page; then do what was chosen."""
        from tui.screens.data.welcome import WelcomeScreen

        answer = await self.app.push_screen_wait(WelcomeScreen())
        if answer is None:
            return
        if answer.startswith("dataset:"):
            self.list_dataset(answer.partition(":")[2])
        elif answer == "train":
            self.list_dataset("identity")
            self.tuningfork.action_mode("train")
        elif answer == "import":
            self.action_import_file()
        elif answer == "new":
            self.action_new()

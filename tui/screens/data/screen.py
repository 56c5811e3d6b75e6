"""Data: find, read, write and sort the pairs that a model learns from.
The table and the pair view draw; this screen decides what they show and what a key does to a pair. What a key does to a
dataset is in dataset_actions."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import ClassVar, TypeVar, get_args

from textual import on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container, Vertical
from textual.widgets import Input, OptionList, Static

from store import pairs
from store.query import BadQuery, words
from store.records import Kind, Pair, Status
from tui import drafts, formatting, keys
from tui.screens.base import ModeScreen, show_errors
from tui.screens.data import finder
from tui.screens.data.dataset_actions import DatasetActions
from tui.screens.data.dataset_list import DatasetList
from tui.screens.data.filter_bar import FilterBar, SearchField
from tui.screens.data.finder import Found, Query
from tui.screens.data.pair_actions import PairActions
from tui.screens.data.pair_table import PairTable
from tui.screens.data.pair_view import PairView
from tui.widgets.empty_state import EmptyState, Hint
from tui.widgets.status_line import StatusLine

T = TypeVar("T")
_TYPING_S = 0.12
_READING_S = 0.05
_ALL = {key.id: key for group in (keys.DATA, keys.TABLE) for key in group}
_TRIES = 5
"""How often a list is read again at most while the cursor keeps moving."""


class DataScreen(ModeScreen):
    """The screen of the Data mode."""

    MODE = "data"
    CSS_PATH = "screen.tcss"
    BINDINGS: ClassVar[list[BindingType]] = keys.bindings(keys.DATA)

    def __init__(self) -> None:
        super().__init__()
        self.query_now = Query()
        self.found: Found | None = None
        self._unsaved: set[str] = set()
        self._want_id: int | None = None
        """The pair that the cursor goes to as soon as it is listed."""
        self._welcomed = False
        self._lost_focus = False
        """Whether the list had the focus when it was hidden for being empty."""
        self._datasets = DatasetActions(self)
        self._pairs = PairActions(self)

    def compose_body(self) -> ComposeResult:
        with Container(id="body"):
            with Vertical(id="side"):
                yield Static("Datasets", id="side-title", markup=False)
                yield DatasetList(id="datasets")
            with Vertical(id="list"):
                yield FilterBar()
                yield PairTable(self._fetch, id="pairs")
                yield EmptyState(id="nothing")
            yield PairView(id="view")
        yield StatusLine()

    def on_mount(self) -> None:
        super().on_mount()
        self.query_now = Query(dataset=self.tuningfork.settings.dataset or None)
        self.query_one(EmptyState).display = False
        self.table.focus()
        self.tuningfork.pairs_changed.subscribe(self, lambda _: self.reload())
        self.reload()

    def on_screen_resume(self) -> None:
        self._unsaved = drafts.keys(self.tuningfork.store.home)
        if self.found is not None:
            self._show_position()

    @property
    def table(self) -> PairTable:
        return self.query_one(PairTable)

    @property
    def dataset(self) -> str | None:
        """The listed dataset; None while all pairs are listed."""
        return self.query_now.dataset

    def chosen(self) -> list[int]:
        """The ids of the marked pairs, or of the one under the cursor."""
        return self.table.chosen()

    def unmark(self) -> None:
        """Mark nothing."""
        self.table.unmark()

    # -- listing ------------------------------------------------------------------------------------------------------

    async def _fetch(self, ids: object) -> list[Pair]:
        return await self.tuningfork.bridge.call(finder.page, ids)  # type: ignore[arg-type]

    def reload(self) -> None:
        """Read the list again; the cursor stays on its pair."""
        self.find(self.query_now)

    def find(self, query: Query, wait: float = 0.0, want_id: int | None = None) -> None:
        """List what the query asks for. A newer call replaces one that is still waiting."""
        if want_id is not None or query != self.query_now:
            self._want_id = want_id
        self.query_now = query  # at once, so that a reload which comes before the list is begun asks for the same
        self._list(query, wait)

    @work(group="find", exclusive=True)
    @show_errors
    async def _list(self, query: Query, wait: float) -> None:
        if wait:
            await asyncio.sleep(wait)
        try:
            found = await self._find(query, self._want_id)
        except BadQuery as error:  # the list stays as it was
            self.query_one(FilterBar).show_error(error)
            self.query_one(StatusLine).show(f"Character {error.start + 1}: {error.todo or error.what}")
            return
        self.found, self.query_now, self._want_id = found, found.query, None
        self.table.show(found.ids, found.at, found.near, words(found.query.text))
        self.query_one(FilterBar).show(found.query)
        self.query_one(DatasetList).show(found.datasets, found.total, found.query.dataset)
        self._show_or_explain(found)
        self._show_position()
        if not found.total and not found.datasets and not self._welcomed and self.is_current:
            self._welcomed = True
            self.action_welcome()

    async def _find(self, query: Query, want_id: int | None) -> Found:
        """The whole list. Before that, the first rows of a long one are shown, if another list is there."""
        table = self.table
        if want_id is None and (self.found is None or self.found.query != query):
            await self._glance(query)
        for _ in range(_TRIES):
            want = table.current_id if want_id is None else want_id
            found = await self.tuningfork.bridge.call(finder.find, query, want, table.cursor)
            if want_id is not None or table.current_id == want:
                break  # else the cursor moved meanwhile, and would jump back
        return found

    async def _glance(self, query: Query) -> None:
        table = self.table
        first = await self.tuningfork.bridge.call(finder.glance, query, table.current_id)
        if first is not None:
            self._show_table(True)
            table.show(first.ids, first.at, first.near, words(query.text), whole=False)
            self.query_one(StatusLine).show("The first pairs; listing all …")
            await asyncio.sleep(_TYPING_S)  # a key that comes now spares the long search

    def working(self) -> str:
        return "listing" if self.found is None or self.found.query != self.query_now else ""

    def _show_or_explain(self, found: Found) -> None:
        empty = not found.ids
        if empty:
            self.query_one(EmptyState).say(*self._why_empty(found))
        self._show_table(not empty)

    def _show_table(self, there: bool) -> None:
        """Show the list, or what to do when it is empty."""
        if self.table.display != there:
            had_focus = self.focused is self.table
            self.table.display, self.query_one(EmptyState).display = there, not there
            went_on = self._lost_focus and self.focused is self.query_one(DatasetList)  # where the framework puts it
            if there and (had_focus or went_on or self.focused is None):
                self.table.focus()
            self._lost_focus = had_focus and not there

    def _why_empty(self, found: Found) -> tuple[str, list[Hint]]:
        query = found.query
        if query.narrowed:
            limits = [f"“{query.text.strip()}”" if query.text.strip() else "", query.status or "", query.kind or ""]
            inside = f" in {query.dataset}" if query.dataset else ""
            return f"Nothing matches {', '.join(filter(None, limits))}{inside}.", [("Esc", "Show all pairs")]
        if query.dataset:
            title = f"The dataset {query.dataset} has no pairs yet."
            there = next((each for each in found.datasets if each.name == query.dataset), None)
            if there and there.preferences + there.feedback:
                title = f"The dataset {query.dataset} has no pairs, but preferences or feedback."
                return title, [_ALL["data.preferences"], _ALL["data.new"], _ALL["data.import"]]
            return title, [_ALL["data.new"], _ALL["data.import"], _ALL["data.identity"], _ALL["data.dataset"]]
        hints: list[Hint] = [_ALL[f"data.{name}"] for name in ("samples", "import", "new", "identity")]
        return "There are no pairs yet.", hints

    def _show_position(self) -> None:
        if self.found is None or not self.table.whole:
            return
        n, marked = len(self.found.ids), len(self.table.marked)
        parts = [formatting.count(n, "pair") + (f" of {self.found.total:,}" if n != self.found.total else "")]
        if marked:
            parts.append(f"● {marked:,} marked")
        if self._unsaved:
            parts.append(f"{formatting.count(len(self._unsaved), 'unsaved draft')}")
        listed = next((d for d in self.found.datasets if d.name == self.found.query.dataset), None)
        if listed and not self.found.query.narrowed:
            parts += [f"{listed.ready:,} ready", f"{listed.train:,} train, {listed.val:,} val, {listed.test:,} test"]
            if judged := listed.preferences + listed.feedback:
                parts.append(f"{formatting.count(judged, 'preference')} (V)")
        self.query_one(StatusLine).show(" · ".join(parts), f"{self.table.cursor + 1:,}/{n:,}" if n else "")

    @on(PairTable.Moved)
    @on(PairTable.MarksChanged)
    def _moved(self) -> None:
        self._show_position()
        if self.query_one(PairView).display:
            self._read_current()

    @work(group="read", exclusive=True)
    @show_errors
    async def _read_current(self) -> None:
        await asyncio.sleep(_READING_S)
        pair = self.table.current
        homes = await self.tuningfork.bridge.call(finder.homes, pair.uid) if pair else []
        self.query_one(PairView).show(pair, homes)

    def on_resize(self) -> None:
        self.call_after_refresh(self._moved)

    # -- searching and filtering --------------------------------------------------------------------------------------

    def action_search(self) -> None:
        self.query_one("#search", Input).focus()

    @on(Input.Changed, "#search")
    def _typed(self, event: Input.Changed) -> None:
        if event.value != self.query_now.text:
            self.find(replace(self.query_now, text=event.value), _TYPING_S)

    @on(SearchField.Left)
    def _search_done(self) -> None:
        if self.table.display:
            self.table.focus()

    def action_next_status(self) -> None:
        self.find(replace(self.query_now, status=_next(self.query_now.status, get_args(Status))))

    def action_next_kind(self) -> None:
        self.find(replace(self.query_now, kind=_next(self.query_now.kind, get_args(Kind))))

    @on(OptionList.OptionHighlighted, "#datasets")
    def _dataset_chosen(self, event: OptionList.OptionHighlighted) -> None:
        name = self.query_one(DatasetList).name_at(event.option_index)
        if self.found is not None and self.query_one(DatasetList).has_focus and name != self.query_now.dataset:
            self.list_dataset(name, _TYPING_S)

    def list_dataset(self, name: str | None, wait: float = 0.0) -> None:
        """List this dataset, and remember it for the next start."""
        self.find(replace(self.query_now, dataset=name), wait)
        self.tuningfork.remember(dataset=name or "")

    def search_for(self, text: str) -> None:
        """List what this search finds in the listed dataset, without the other filters."""
        self.query_now = Query(text, self.query_now.dataset)  # what the field announces is listed already
        self.query_one("#search", Input).value = text
        self.find(self.query_now)
        self.table.focus()

    def action_back(self) -> None:
        """Out of the search field; then marks; then search text; then filters."""
        search = self.query_one("#search", Input)
        if self.focused is not None and self.focused is not self.table and self.table.display:
            self.table.focus()
        elif self.table.marked:
            self.table.unmark()
        elif search.value:
            search.clear()
        elif self.query_now.narrowed:
            self.find(Query(dataset=self.query_now.dataset))

    def action_detail(self) -> None:
        """Show or hide the pair view, whatever the window's size would have chosen."""
        view = self.query_one(PairView)
        shown = bool(view.display)
        self.set_class(not shown, "-view")
        self.set_class(shown, "-no-view")
        self.call_after_refresh(self._moved)

    # -- datasets -----------------------------------------------------------------------------------------------------

    @work(group="dialog")
    @show_errors
    async def _run(self, action: Callable[[], Awaitable[None]]) -> None:
        await action()

    def action_dataset(self) -> None:
        self._run(self._datasets.choose)

    def action_add_to_dataset(self) -> None:
        self._run(self._datasets.add_pairs)

    def action_drop_from_dataset(self) -> None:
        self._run(self._datasets.take_out_pairs)

    def action_rename_dataset(self) -> None:
        self._run(self._datasets.rename)

    def action_split_dataset(self) -> None:
        self._run(self._datasets.split)

    def action_remove_dataset(self) -> None:
        self._run(self._datasets.remove)

    def action_import_file(self) -> None:
        self._run(self._datasets.import_file)

    def action_export_file(self) -> None:
        self._run(self._datasets.write_file)

    @work(group="dialog")
    async def action_preferences(self) -> None:
        """The preferences and feedback of the listed dataset; a change there can be undone here too."""
        from tui.screens.data.preferences import PreferenceList

        await self.app.push_screen_wait(PreferenceList(self.query_now.dataset))
        self.reload()

    def action_problems(self) -> None:
        self._run(self._datasets.problems)

    def action_statistics(self) -> None:
        self._run(self._datasets.statistics)

    def action_snapshots(self) -> None:
        self._run(self._datasets.snapshots)

    def action_duplicates(self) -> None:
        self._run(self._datasets.duplicates)

    def action_alike(self) -> None:
        self._run(self._pairs.alike)

    def action_identity(self) -> None:
        self._run(self._datasets.identity)

    @work(group="dialog")
    async def action_samples(self) -> None:
        from tui.screens.data import sample_data

        self._begin_with(await sample_data.offer(self.tuningfork))

    @work(group="dialog")
    async def action_welcome(self) -> None:
        """Offer sample data, a file, or an empty page; then do what was chosen."""
        from tui.screens.data.welcome import WelcomeScreen

        answer = await self.app.push_screen_wait(WelcomeScreen())
        self._begin_with(answer)

    def _begin_with(self, answer: str | None) -> None:
        """Do what was chosen on the welcome page, or after the sample data was loaded."""
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

    # -- pairs --------------------------------------------------------------------------------------------------------

    @on(PairTable.Opened)
    def _opened(self) -> None:
        if self.table.current is not None:
            self._edit(self.table.current)

    @work
    async def _edit(self, pair: Pair) -> None:
        from tui.screens.data.pair_editor import PairEditor

        await self.app.push_screen_wait(PairEditor(pair))
        self.reload()

    def action_new(self) -> None:
        self._write_new()

    @work
    async def _write_new(self) -> None:
        from tui.screens.data.pair_editor import PairEditor

        saved = await self.app.push_screen_wait(PairEditor(dataset=self.query_now.dataset))
        self.find(self.query_now, want_id=saved.id if saved else None)

    def action_change(self) -> None:
        self._run(self._pairs.change)

    def action_replace(self) -> None:
        self._run(self._pairs.replace)

    def action_history(self) -> None:
        self._run(self._pairs.history)

    @work
    @show_errors
    async def action_copy(self) -> None:
        """Copy the pair under the cursor, and open the copy."""
        from tui.screens.data.pair_editor import PairEditor

        if copy := await self._pairs.copy():
            await self.app.push_screen_wait(PairEditor(copy))
            self.find(self.query_now, want_id=copy.id)

    async def _chosen_uids(self) -> list[str]:
        return await self.tuningfork.bridge.call(finder.uids, self.table.chosen())

    @work(group="change")
    @show_errors
    async def action_status(self, status: Status) -> None:
        """Set the status of the chosen pairs. After a single one go to the next, so that holding a key sorts a list."""
        if uids := await self._chosen_uids():
            await self.tuningfork.bridge.call(pairs.set_status, uids, status)
            if len(uids) > 1:
                self._notify_undoable(f"{formatting.count(len(uids), 'pair')} set to {status}.")
            elif self.query_now.status in (None, status):
                self.table.action_move(1)
            self.reload()

    @work(group="change")
    @show_errors
    async def action_delete(self) -> None:
        """Delete the chosen pairs: several only after a question, and always so that undo brings them back."""
        uids = await self._chosen_uids()
        if not uids or (len(uids) > 1 and not await self._sure_to_delete(len(uids))):
            return
        n = await self.tuningfork.bridge.call(pairs.delete, uids)
        self.table.unmark()
        self._notify_undoable(f"{formatting.count(n, 'pair')} deleted.")
        self.reload()

    async def _sure_to_delete(self, n: int) -> bool:
        from tui.screens.dialogs.confirm import Confirm

        what = formatting.count(n, "marked pair")
        body = f"Delete {what} from every dataset? u brings them back. What runs were trained on is kept."
        return await self.app.push_screen_wait(Confirm(f"Delete {what}", body, f"Delete {n:,}")) is True

    @work(group="change")
    @show_errors
    async def action_undo(self) -> None:
        edit = await self.tuningfork.bridge.call(pairs.undo)
        self.tuningfork.notify(f"Undid: {formatting.edited(edit.label, edit.pairs)}." if edit else "Nothing to undo.")
        self.reload()

    @work(group="change")
    @show_errors
    async def action_redo(self) -> None:
        edit = await self.tuningfork.bridge.call(pairs.redo)
        self.tuningfork.notify(f"Redid: {formatting.edited(edit.label, edit.pairs)}." if edit else "Nothing to redo.")
        self.reload()

    def _notify_undoable(self, what: str) -> None:
        """Show a notice that names the key for undo."""
        self.tuningfork.notify(f"{what} Press u to undo.")


def _next(value: T | None, values: tuple[T, ...]) -> T | None:
    """None, then each value in turn, then None again."""
    ring = (None, *values)
    return ring[(ring.index(value) + 1) % len(ring)]

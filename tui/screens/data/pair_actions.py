"""What the Data screen does to chosen pairs beyond one key press: change, find and replace, copy, history.
A controller: it asks, changes the store and reports; the list it acts on belongs to the screen."""

from __future__ import annotations

from typing import Protocol

from store import bulk, pairs
from store.records import Pair
from tui import formatting
from tui.screens.data import finder
from tui.services import AppServices


class ChosenPairs(Protocol):
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

    def reload(self) -> None:
        """Read the list again."""


class PairActions:
    """Each method is one action, from its question to its notice. Run them in a worker: they wait for dialogs."""

    def __init__(self, listed: ChosenPairs) -> None:
        self._list = listed

    @property
    def _app(self) -> AppServices:
        return self._list.tuningfork

    async def _uids(self) -> list[str]:
        return await self._app.bridge.call(finder.uids, self._list.chosen())

    async def change(self) -> None:
        """Change fields and membership of the chosen pairs."""
        from tui.screens.data.bulk_dialogs import ChangeDialog

        if not (uids := await self._uids()):
            return
        change = await self._app.push_screen_wait(ChangeDialog(len(uids), self._list.dataset))
        if change is not None:
            done = await self._app.bridge.job(bulk.apply, uids, change)
            more = f", {done.joined:,} joined {change.dataset}" if done.joined else ""
            more += f", {done.moved:,} moved to {change.split}" if done.moved else ""
            self._done(f"{formatting.count(done.changed, 'pair')} of {len(uids):,} changed{more}.")

    async def replace(self) -> None:
        """Find and replace in the chosen pairs."""
        from tui.screens.data.bulk_dialogs import ReplaceDialog

        if not (uids := await self._uids()):
            return
        wanted = await self._app.push_screen_wait(ReplaceDialog(uids))
        if wanted is not None:
            done = await self._app.bridge.job(bulk.replace_text, uids, wanted)
            self._done(f"{formatting.count(done.found, 'place')} in {formatting.count(done.pairs, 'pair')} replaced.")

    async def copy(self) -> Pair | None:
        """Copy one pair; the copy is a draft."""
        uids = await self._uids()
        if len(uids) != 1:
            self._app.notify("Choose one pair to copy: several are marked." if uids else "There is no pair to copy.")
            return None
        return await self._app.bridge.call(pairs.copy, uids[0])

    async def alike(self) -> None:
        """List the pairs that are most like one."""
        from tui.screens.data.alike_pairs import AlikePairs

        uids = await self._uids()
        if len(uids) != 1:
            self._app.notify("Choose one pair: several are marked." if uids else "There is no pair.")
            return
        await self._app.push_screen_wait(AlikePairs(await self._app.bridge.call(pairs.get, uids[0])))
        self._list.reload()

    async def history(self) -> None:
        """Show the revisions of one pair, and restore one of them."""
        from tui.screens.data.revisions import RevisionsDialog

        uids = await self._uids()
        if len(uids) != 1:
            self._app.notify("Choose one pair to see its history." if uids else "There is no pair.")
            return
        states = await self._app.bridge.call(pairs.revisions, uids[0])
        revision = await self._app.push_screen_wait(RevisionsDialog(states))
        if revision is not None:
            await self._app.bridge.call(pairs.restore, uids[0], revision)
            self._done(f"Restored revision {revision}.")

    def _done(self, what: str) -> None:
        self._list.unmark()
        self._app.notify(f"{what} Press u to undo.")
        self._list.reload()

"""Duplicate review: groups of pairs that look alike, and what differs between the pairs of one, to decide on each.
What is a group, and what a decision does, is in store/duplicate_groups.py."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from store import datasets, duplicate_groups, edits
from store.db import Store
from store.duplicate_groups import Couples, SimilarGroup
from store.errors import TuningforkError
from store.records import Pair
from tui import formatting, keys
from tui.screens.base import PageScreen, show_errors
from tui.screens.data.pair_difference import PairDifference, difference
from tui.screens.data.threshold_dialog import EXACT, ThresholdDialog
from tui.text import fit, one_line
from tui.widgets.empty_state import EmptyState
from tui.widgets.signs import STATUS_SIGN

_Decision = Callable[..., Awaitable[tuple[Couples | None, str]]]
"""Carries a decision out; gives the couples that were told apart, or None for an edit of the data, and what to say."""
_NEAR = 0.8
_MARGIN = 5
"""Cells of a line that are padding and scrollbar."""
_SHOWN = 1_000
"""Groups listed at most, and pairs of a group; deciding on the first groups makes room for the others."""


class DuplicateReview(PageScreen[None]):
    """The groups of one dataset: at the left their list, at the right the pairs of one; one of both in a narrow window.

    `uid` names a pair whose group comes first.
    """

    PAGE = "duplicates"
    CSS_PATH = "duplicate_review.tcss"
    BINDINGS: ClassVar[list[BindingType]] = keys.bindings(keys.DUPLICATES)

    def __init__(self, dataset: str, uid: str | None = None) -> None:
        super().__init__()
        self._dataset, self._want, self._near = dataset, uid, _NEAR
        self._groups: list[SimilarGroup] = []
        self._of_members: SimilarGroup | None = None
        """The group whose pairs are listed at the right."""
        self._done: list[tuple[Couples | None, str]] = []
        """What was decided here, the newest last: the couples that were told apart, or None for an edit of the data,
        and the uid of a pair of the group."""
        self._deciding = asyncio.Lock()
        self._decisions = 0

    def compose_body(self) -> ComposeResult:
        yield Static(id="summary", markup=False)
        with Horizontal(id="panes"):
            yield OptionList(id="groups", compact=True, markup=False)
            with Vertical(id="group"):
                yield OptionList(id="members", compact=True, markup=False)
                yield PairDifference(can_focus=False)
        yield EmptyState()

    def on_mount(self) -> None:
        super().on_mount()
        self.query_one("#panes").display = False
        looking = f"Looking for duplicates in {one_line(self._dataset, 30)} …"
        self.query_one(EmptyState).say(looking, [("Esc", "back")])
        self.reload()

    def on_resize(self) -> None:
        """Lines are laid out for the width there is."""
        self.call_after_refresh(self._redraw)

    # -- listing ------------------------------------------------------------------------------------------------------

    @work(group="reload", exclusive=True)
    @show_errors
    async def reload(self) -> None:
        """Look for the groups again; the cursor stays on its group. What is decided meanwhile counts."""
        while True:
            decided = self._decisions
            near = None if self._near == EXACT else self._near
            found = await self.tuningfork.bridge.job(duplicate_groups.find, self._dataset, near)
            if decided == self._decisions:
                break
        current = self._want or (self._group.pairs[0].uid if self._group else None)
        self._groups, self._want = found, None
        holds = (n for n, group in enumerate(found) if any(pair.uid == current for pair in group.pairs))
        self._draw(next(holds, self._at or 0))

    def _draw(self, at: int) -> None:
        """List the groups, the cursor on the one at `at`."""
        options, empty = self.query_one("#groups", OptionList), self.query_one(EmptyState)
        shown = self._groups[:_SHOWN]
        options.clear_options()
        options.add_options([Option(_line(group, self._widths[0])) for group in shown])
        self.query_one("#panes").display, empty.display = bool(shown), not shown
        self.query_one("#summary", Static).update(_summary(self._dataset, self._near, self._groups))
        if shown:
            options.highlighted = min(at, len(shown) - 1)
            if self.focused is None:
                self.query_one("#members" if self.has_class("-members") else "#groups").focus()
        else:
            how = "with the same text" if self._near == EXACT else f"that share {self._near:.2f} of their text"
            nothing = f"There are no pairs {how} in {one_line(self._dataset, 30)}."
            empty.say(nothing, [("t", "choose another share"), ("Esc", "back")])
        self._list_members()

    def _redraw(self) -> None:
        """Draw both lists for another width; the cursors stay."""
        members = self.query_one("#members", OptionList)
        if self._groups:
            at = members.highlighted
            self._draw(self._at or 0)
            members.highlighted = at

    @property
    def _widths(self) -> tuple[int, int]:
        """Cells of a line of the groups, and of one of the pairs."""
        narrow, whole = self.has_class("-narrow"), self.size.width - _MARGIN
        left = whole if narrow else self.size.width * 2 // 5 - _MARGIN
        return left, whole if narrow else whole - left - _MARGIN - 1

    @property
    def _at(self) -> int | None:
        at = self.query_one("#groups", OptionList).highlighted
        return at if at is not None and at < len(self._groups) else None

    @property
    def _group(self) -> SimilarGroup | None:
        return None if self._at is None else self._groups[self._at]

    @property
    def _pair(self) -> Pair | None:
        """The pair under the cursor: the first of its group until another one was chosen there."""
        group, at = self._group, self.query_one("#members", OptionList).highlighted or 0
        if group is None:
            return None
        return group.pairs[at if group is self._of_members and at < len(group.pairs) else 0]

    @on(OptionList.OptionHighlighted, "#groups")
    def _moved(self) -> None:
        if self._group is not self._of_members:
            self._list_members()

    def _list_members(self) -> None:
        group, members = self._group, self.query_one("#members", OptionList)
        self._of_members = group
        members.clear_options()
        if group is not None:
            shown = min(len(group.pairs), _SHOWN)
            members.add_options([Option(_member(group, n, self._widths[1])) for n in range(shown)])
            if more := len(group.pairs) - shown:
                members.add_option(Option(f"… and {more:,} more, which are decided on with these", disabled=True))
            members.highlighted = 0
            self._compare()

    @on(OptionList.OptionHighlighted, "#members")
    def _other_member(self) -> None:
        self._compare()

    @work(group="compare", exclusive=True)
    @show_errors
    async def _compare(self) -> None:
        """Show what differs between the pair under the cursor and the first of its group."""
        group, pair = self._group, self._pair
        if group is not None and pair is not None:
            page = await self.tuningfork.bridge.call(_compared, group.pairs[0], pair)
            self.query_one(PairDifference).show(page)

    # -- moving -------------------------------------------------------------------------------------------------------

    @on(OptionList.OptionSelected, "#groups")
    def _opened(self) -> None:
        self.add_class("-members")
        self.query_one("#members").focus()

    @on(OptionList.OptionSelected, "#members")
    def _chosen(self) -> None:
        self.action_edit()

    def action_step(self, by: int) -> None:
        """Go to the next group or the one before, in the same pane."""
        options = self.query_one("#groups", OptionList)
        if self._at is not None:
            options.highlighted = max(0, min(options.option_count - 1, self._at + by))

    def action_back(self) -> None:
        """From the pairs to the groups, and from there back."""
        if self.has_class("-members") and self._groups:
            self.remove_class("-members")
            self.query_one("#groups").focus()
        else:
            self.dismiss(None)

    def back_word(self) -> str | None:
        return "Groups" if self.has_class("-members") and self._groups else "Back"

    # -- deciding -----------------------------------------------------------------------------------------------------

    def action_keep(self) -> None:
        """Keep the pair under the cursor and drop the others of its group."""
        group, pair = self._group, self._pair
        if group is not None and pair is not None:
            self._decide(group, None, self._kept, group, pair.uid)

    async def _kept(self, group: SimilarGroup, uid: str) -> tuple[None, str]:
        done = await self.tuningfork.bridge.call(duplicate_groups.keep, self._dataset, group, uid)
        gone = [f"{formatting.count(done.deleted, 'pair')} deleted"] if done.deleted else []
        gone += [f"{done.taken_out:,} only taken out of {one_line(self._dataset, 30)}"] if done.taken_out else []
        return None, f"Kept {uid}; {', '.join(gone)}. Press u to undo."

    def action_merge(self) -> None:
        """Unite tags and datasets in the pair under the cursor, and delete the others of its group."""
        group, pair = self._group, self._pair
        if group is not None and pair is not None:
            self._decide(group, None, self._merged, group, pair.uid)

    async def _merged(self, group: SimilarGroup, uid: str) -> tuple[None, str]:
        done = await self.tuningfork.bridge.call(duplicate_groups.merge, group, uid)
        got = [one_line(f"#{tag}", 20) for tag in done.tags] + [one_line(name, 20) for name in done.datasets]
        with_these = f" with {', '.join(got)}" if got else ""
        return None, f"Merged into {uid}{with_these}; {formatting.count(done.deleted, 'pair')} deleted. u undoes it."

    def action_apart(self) -> None:
        """Remember that the pair under the cursor is no duplicate of the others of its group."""
        group, pair = self._group, self._pair
        if group is not None and pair is not None:
            others = [other.uid for other in group.pairs if other is not pair]
            rest = duplicate_groups.without(group, pair.uid)
            self._decide(group, rest, self._told_apart, duplicate_groups.tell_apart, pair.uid, others)

    def action_all_apart(self) -> None:
        """Remember that no two pairs of the group are duplicates."""
        if (group := self._group) is not None:
            uids = [pair.uid for pair in group.pairs]
            self._decide(group, None, self._told_apart, duplicate_groups.tell_all_apart, uids)

    async def _told_apart(self, tell: Callable[..., Couples], *args: Any) -> tuple[Couples, str]:
        couples = await self.tuningfork.bridge.call(tell, *args)
        return couples, "Remembered: no duplicates. Press u here to undo, or later: tuningfork data mute --list"

    def _decide(self, group: SimilarGroup, rest: SimilarGroup | None, carry_out: _Decision, *args: Any) -> None:
        """Put `rest` in the place of a group at once, so that the next key means the next one; then carry it out."""
        at = next(n for n, each in enumerate(self._groups) if each is group)
        self._groups[at : at + 1] = [rest] if rest else []
        self._decisions += 1
        self._draw(at)
        self._carry_out(group, carry_out, *args)

    @work(group="decide")
    async def _carry_out(self, group: SimilarGroup, decision: _Decision, *args: Any) -> None:
        async with self._deciding:
            try:
                couples, said = await decision(*args)
            except TuningforkError as error:
                self.tuningfork.notify_error(error)
                self._want = group.pairs[0].uid
                self.reload()
                return
            finally:
                self._decisions += 1
            self._done.append((couples, group.pairs[0].uid))
            self.tuningfork.notify(said)

    @work(group="decide")
    @show_errors
    async def action_undo(self) -> None:
        """Undo the last decision; where there is none, the last change of the data."""
        async with self._deciding:
            couples, self._want = self._done.pop() if self._done else (None, None)
            self._decisions += 1
            if couples is not None:
                await self.tuningfork.bridge.call(duplicate_groups.forget, couples)
                self.tuningfork.notify(f"Undid: no duplicates, {formatting.count(len(couples), 'couple')}.")
            else:
                edit = await self.tuningfork.bridge.call(edits.undo)
                said = f"Undid: {formatting.edited(edit.label, edit.pairs)}." if edit else "Nothing to undo."
                self.tuningfork.notify(said)
            self._decisions += 1
        self.reload()

    @work(group="dialog")
    @show_errors
    async def action_edit(self) -> None:
        """Open the pair under the cursor."""
        from tui.screens.data.pair_editor import PairEditor

        if (pair := self._pair) is not None:
            saved = await self.app.push_screen_wait(PairEditor(pair))
            if saved is not None:
                self._done.append((None, saved.uid))
                self._want = saved.uid
                self.reload()

    @work(group="dialog")
    @show_errors
    async def action_threshold(self) -> None:
        """Choose from which share of common text on pairs are listed."""
        share = await self.app.push_screen_wait(ThresholdDialog(self._dataset, self._near))
        if share is not None and share != self._near:
            self._near = share
            self.query_one("#summary", Static).update("Looking …")
            self.reload()


def _compared(store: Store, first: Pair, pair: Pair) -> Content:
    return difference(first, pair, datasets.of(store, pair.uid))


def _summary(dataset: str, near: float, groups: list[SimilarGroup]) -> str:
    exact, pairs = sum(group.exact for group in groups), sum(len(group.pairs) for group in groups)
    shares = f", {len(groups) - exact:,} near (t: {near:.2f})" if near != EXACT else " (t: only those)"
    more = f" · the first {_SHOWN:,} are listed" if len(groups) > _SHOWN else ""
    said = f"{formatting.count(exact, 'group')} with the same text{shares} · {formatting.count(pairs, 'pair')}{more}"
    return f"{one_line(dataset, 30)}: {said}"


def _line(group: SimilarGroup, width: int) -> Content:
    """A group on one line: whether its texts are the same, how many pairs, the least share, the question."""
    sign = ("= ", "$success") if group.exact else ("≈ ", "$warning")
    numbers = f"{len(group.pairs):>4,}  {group.least:.2f}  "
    return Content.assemble(sign, numbers, fit(group.pairs[0].question, max(10, width - len(numbers) - 2)))


def _member(group: SimilarGroup, n: int, width: int) -> Content:
    """A pair of a group on one line: the share that it has in common with the first, its status, its answer."""
    share = ("first", "bold") if n == 0 else f" {group.alike[n]:.2f}"
    pair = group.pairs[n]
    return Content.assemble(share, f"  {STATUS_SIGN[pair.status]} ", fit(pair.answer, max(10, width - 9)))

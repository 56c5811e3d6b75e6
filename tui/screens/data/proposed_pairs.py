"""Pairs that were made and are not saved yet, one a line: read them, leave some out, edit them, save the others.
What is known of them (contradictions, findings of lint) comes from store/proposals.py, which also saves them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from store import proposals
from store.curate.wizard.proposed import form_of
from store.proposals import ProposalCheck
from store.records import PairDraft
from tui import formatting, keys
from tui.screens.base import PageScreen, show_errors
from tui.text import clean, fit, one_line
from tui.widgets.empty_state import EmptyState

_FORM = 13


@dataclass
class ProposedPair:
    """One pair; `warnings` are sentences on it, and `made` is it as it was made."""

    made: PairDraft
    draft: PairDraft
    taken: bool = True
    warnings: tuple[str, ...] = ()


@dataclass
class ProposedList:
    """The pairs of one making, with what was changed in them. `known` counts those that the dataset has already."""

    pairs: list[ProposedPair]
    known: int = 0
    notices: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, found: ProposalCheck, notices: list[str]) -> ProposedList:
        """All new pairs, taken, each with what was found about it."""
        warnings: dict[int, list[str]] = {}
        numbers = {id(draft): n for n, draft in enumerate(found.new)}
        for each in found.contradictions:
            said = f"{each.pair.uid} asks the same and answers: {one_line(each.pair.answer, 80)}"
            warnings.setdefault(numbers[id(each.draft)], []).append(said)
        for finding in found.findings:
            warnings.setdefault(int(finding.uid), []).append(f"The {finding.field} {finding.what}.")
        pairs = [ProposedPair(draft, draft, True, tuple(warnings.get(n, ()))) for n, draft in enumerate(found.new)]
        return cls(pairs, found.known, notices)

    @property
    def taken(self) -> list[PairDraft]:
        """What will be saved."""
        return [pair.draft for pair in self.pairs if pair.taken]


class ProposedPairs(PageScreen[bool]):
    """True when the pairs were saved. Changes `listed` in place, so that going back loses nothing."""

    PAGE = "proposed"
    CSS_PATH = "proposed_pairs.tcss"
    BINDINGS: ClassVar[list[BindingType]] = keys.bindings(keys.PROPOSED)

    def __init__(self, listed: ProposedList, dataset: str, label: str) -> None:
        super().__init__()
        self._listed, self._dataset, self._label = listed, dataset, label
        self._saving = False

    def compose_body(self) -> ComposeResult:
        yield Static(id="summary", markup=False)
        with Vertical(id="found"):
            yield OptionList(compact=True, markup=False)
            with VerticalScroll(id="pair", can_focus=False):
                yield Static(markup=False)
        yield EmptyState()

    def on_mount(self) -> None:
        super().on_mount()
        shown = bool(self._listed.pairs)
        self.query_one("#found").display, self.query_one(EmptyState).display = shown, not shown
        self.query_one(EmptyState).say(
            f"All of these pairs are in {one_line(self._dataset, 30)} already.", [("Esc", "back to the answers")]
        )
        self._draw()
        self.query_one(OptionList).focus()
        for notice in self._listed.notices:
            self.tuningfork.notify(notice)

    def on_resize(self) -> None:
        """Lines are laid out for the width there is."""
        self._draw()

    def _draw(self) -> None:
        options = self.query_one(OptionList)
        at = options.highlighted or 0
        width = self.size.width - 6
        options.clear_options()
        options.add_options([Option(_line(pair, width)) for pair in self._listed.pairs])
        options.highlighted = min(at, len(self._listed.pairs) - 1) if self._listed.pairs else None
        self._show_summary()

    def _show_summary(self) -> None:
        n, taken = len(self._listed.pairs), len(self._listed.taken)
        parts = [f"{formatting.count(taken, 'pair')} of {n:,} for {one_line(self._dataset, 30)}"]
        parts += [f"{self._listed.known:,} there already"] if self._listed.known else []
        warned = sum(bool(pair.warnings) for pair in self._listed.pairs)
        parts += [f"! {warned:,} to look at"] if warned else []
        self.query_one("#summary", Static).update(Content(" · ".join([*parts, "nothing is saved yet"])))

    @property
    def _at(self) -> int | None:
        at = self.query_one(OptionList).highlighted
        return at if at is not None and at < len(self._listed.pairs) else None

    @on(OptionList.OptionHighlighted)
    def _moved(self) -> None:
        if self._at is not None:
            self.query_one("#pair", VerticalScroll).scroll_home(animate=False)
            self.query_one("#pair Static", Static).update(_page(self._listed.pairs[self._at]))

    @on(OptionList.OptionSelected)
    def _chosen(self) -> None:
        self.action_edit()

    def _redraw(self, numbers: Iterable[int]) -> None:
        options, width = self.query_one(OptionList), self.size.width - 6
        for n in numbers:
            options.replace_option_prompt_at_index(n, _line(self._listed.pairs[n], width))
        self._show_summary()

    # -- what keys do -------------------------------------------------------------------------------------------------

    def action_take(self) -> None:
        """Leave out the pair under the cursor, or take it again; the cursor goes on."""
        at = self._at
        if at is not None:
            self._listed.pairs[at].taken ^= True
            self._redraw([at])
            self.query_one(OptionList).highlighted = min(at + 1, len(self._listed.pairs) - 1)

    def action_take_form(self) -> None:
        """Leave out all pairs of the form under the cursor; take them when none is taken."""
        at = self._at
        if at is not None:
            form = form_of(self._listed.pairs[at].made)
            same = [n for n, pair in enumerate(self._listed.pairs) if form_of(pair.made) == form]
            take = not any(self._listed.pairs[n].taken for n in same)
            for n in same:
                self._listed.pairs[n].taken = take
            self._redraw(same)

    @work(group="edit", exclusive=True)
    async def action_edit(self) -> None:
        """Open the pair under the cursor; an edited one is taken."""
        from tui.screens.data.proposed_pair import ProposedPairEditor

        at = self._at
        if at is None:
            return
        pair = self._listed.pairs[at]
        draft = await self.app.push_screen_wait(ProposedPairEditor(pair.draft, pair.made))
        if draft is not None and draft != pair.draft:
            pair.draft, pair.taken, pair.warnings = draft, True, ()
            self._redraw([at])
            self._moved()

    @work(group="save", exclusive=True)
    @show_errors
    async def action_save(self) -> None:
        """Save the pairs that are taken, as one change."""
        taken = self._listed.taken
        if not taken:
            self.tuningfork.notify("No pair is taken: Space takes one.", severity="warning")
            return
        if self._saving:
            return
        self._saving = True
        try:
            made = await self.tuningfork.bridge.job(proposals.save, self._dataset, taken, self._label)
        finally:
            self._saving = False
        there = f"; {made.duplicates:,} were there already" if made.duplicates else ""
        saved = formatting.count(len(made.uids), "pair")
        self.tuningfork.notify(f"{saved} saved in {one_line(self._dataset, 30)}{there}. Press u to undo.")
        self.dismiss(True)

    def action_back(self) -> None:
        """Back to the answers; what was changed here is kept."""
        self.dismiss(False)

    def quit_notice(self) -> str | None:
        return "The pairs that were made are not saved yet." if self._listed.pairs else None


def _line(pair: ProposedPair, width: int) -> Content:
    """A pair on one line: whether it is taken, its form, question and answer."""
    mark = Content.styled("[x] ", "bold $primary") if pair.taken else Content.styled("[ ] ", "$faint")
    sign = ("! ", "$text-warning") if pair.warnings else ("✎ ", "$primary") if pair.draft != pair.made else "  "
    room = max(20, width - _FORM - 7)
    question = f"… {pair.draft.question}" if pair.draft.history else pair.draft.question
    style = "" if pair.taken else "$faint"
    return Content.assemble(
        mark, sign, (fit(form_of(pair.made), _FORM), "$faint"), (fit(question, room // 2), style), " ",
        (one_line(pair.draft.answer, room - room // 2), "$faint"),
    )  # fmt: skip


def _page(pair: ProposedPair) -> Content:
    """A pair in full, after the turns before it, and what is to know about it."""
    lines = [Content.styled(f"! {clean(warning)}", "$text-warning") for warning in pair.warnings]
    turns = [(turn.role == "user", turn.content) for turn in pair.draft.history]
    for asks, text in [*turns, (True, pair.draft.question), (False, pair.draft.answer)]:
        lines.append(Content.assemble(("Q  ", "bold $primary") if asks else ("A  ", "$faint"), clean(text)))
    return Content("\n").join(lines)

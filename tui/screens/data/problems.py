"""Problems: what is probably wrong in a dataset, the worst first, with the faulty place of each text.
What is wrong, and how it is fixed or muted, is decided in store/problems.py and store/review.py."""

from __future__ import annotations

from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Button, OptionList, Static
from textual.widgets.option_list import Option

from store import edits, pairs, preference_rows, problems, review
from store.curate.findings import Finding, texts
from store.db import Store
from store.problems import Fixes, Problems
from tui import formatting, keys
from tui.bridge import Left
from tui.screens.base import PageScreen, show_errors
from tui.screens.data.bulk_dialogs import marked
from tui.screens.dialogs.base import Dialog, button
from tui.text import clean, fit, one_line
from tui.widgets.empty_state import EmptyState

_SHOWN = 1_000
"""Findings listed at most; fixing or muting the first makes room for the others."""
_AROUND = 300
"""Characters of text that are shown on each side of a faulty place."""
_CHANGES = 12
_STYLES = {"error": "$text-error", "warning": "$text-warning", "info": "$faint"}
_PLURALS = {"error": "errors", "warning": "warnings", "info": "info"}
_SIGNS = {"error": "✗", "warning": "!", "info": "·"}


class ProblemList(PageScreen[None]):
    """The problems of one dataset: read them, open the row, fix what a rule can fix, mute what is fine."""

    PAGE = "problems"
    CSS_PATH = "problems.tcss"
    BINDINGS: ClassVar[list[BindingType]] = keys.bindings(keys.PROBLEMS)

    def __init__(self, dataset: str) -> None:
        super().__init__()
        self._dataset = dataset
        self._found: Problems | None = None
        self._gone = False

    def compose_body(self) -> ComposeResult:
        yield Static(id="summary", markup=False)
        with Vertical(id="found"):
            yield OptionList(compact=True, markup=False)
            with VerticalScroll(id="finding"):
                yield Static(markup=False)
        yield EmptyState()

    def on_mount(self) -> None:
        super().on_mount()
        self.query_one("#found").display = False
        self.query_one(EmptyState).say(f"Looking through {one_line(self._dataset, 30)} …", [("Esc", "stop")])
        self.reload()

    def on_unmount(self) -> None:
        self._gone = True

    def on_resize(self) -> None:
        """Lines are laid out for the width there is."""
        if self._found:
            self._draw(self._found)

    @work(group="reload", exclusive=True)
    @show_errors
    async def reload(self) -> None:
        """Look through the dataset again; the cursor stays where it is."""
        try:
            self._found = await self.tuningfork.bridge.job(self._look)
        except Left:
            return
        self._draw(self._found)

    def _look(self, store: Store) -> Problems:
        return problems.find(store, self._dataset, on_progress=self._go_on)

    def _go_on(self, _done: int) -> None:
        if self._gone:
            raise Left

    def _draw(self, found: Problems) -> None:
        options, empty = self.query_one(OptionList), self.query_one(EmptyState)
        shown = found.findings[:_SHOWN]
        at, width = options.highlighted or 0, self.size.width - 5
        options.clear_options()
        options.add_options([Option(_line(finding, width)) for finding in shown])
        options.highlighted = min(at, len(shown) - 1) if shown else None
        self.query_one("#found").display, empty.display = bool(shown), not shown
        if shown:
            options.focus()
        else:
            muted = [("", f"{formatting.count(found.muted, 'finding')} of muted rules left out")] if found.muted else []
            empty.say(f"No problems found in {one_line(self._dataset, 30)}.", [("Esc", "back to the pairs"), *muted])
        self.query_one("#summary", Static).update(Content(_summary(self._dataset, found)))

    @property
    def _current(self) -> Finding | None:
        at = self.query_one(OptionList).highlighted
        return self._found.findings[at] if self._found and at is not None and at < len(self._found.findings) else None

    @on(OptionList.OptionHighlighted)
    def _moved(self) -> None:
        self._read()

    @work(group="read", exclusive=True)
    @show_errors
    async def _read(self) -> None:
        """Show the text of the finding under the cursor."""
        finding = self._current
        if finding is not None:
            question, text = await self.tuningfork.bridge.call(_texts_of, finding)
            self.query_one("#finding", VerticalScroll).scroll_home(animate=False)
            self.query_one("#finding Static", Static).update(_page(finding, question, text))

    @on(OptionList.OptionSelected)
    def _chosen(self) -> None:
        if self._current is not None and self._current.code == "duplicate":
            self._review(self._current.uid)
        else:
            self.action_open()

    @work(group="change")
    async def _review(self, uid: str) -> None:
        """Review the duplicates, from the group of this pair on."""
        from tui.screens.data.duplicate_review import DuplicateReview

        await self.app.push_screen_wait(DuplicateReview(self._dataset, uid))
        self.reload()

    @work(group="change")
    @show_errors
    async def action_open(self) -> None:
        """Open the pair of the finding to correct it by hand."""
        from tui.screens.data.pair_editor import PairEditor

        finding = self._current
        if finding is None:
            return
        found = await self.tuningfork.bridge.call(pairs.begin_with, finding.uid)
        if not found:
            self.tuningfork.notify(
                "Preferences and feedback cannot be edited. Find the row with V, and delete it there."
            )
            return
        await self.app.push_screen_wait(PairEditor(found[0]))
        self.reload()

    @work(group="change")
    @show_errors
    async def action_fix(self) -> None:
        """Show what the rule under the cursor can correct in the whole dataset, and do that when it is wanted."""
        finding = self._current
        if finding is None:
            return
        if not finding.fixable:
            self.tuningfork.notify(f"{finding.code} has no fix: press Enter and correct the pair.", severity="warning")
            return
        seen = await self.tuningfork.bridge.job(problems.preview_fixes, self._dataset, [finding.code])
        if not seen.pairs:
            self.tuningfork.notify(f"{finding.code} can correct nothing here: press Enter and correct the pair.")
            return
        if await self.app.push_screen_wait(FixDialog(finding.code, seen)):
            done = await self.tuningfork.bridge.job(problems.fix, self._dataset, [finding.code])
            self.tuningfork.notify(f"{formatting.count(done.pairs, 'pair')} corrected. Press u to undo.")
            self.reload()

    @work(group="change")
    @show_errors
    async def action_mute(self, whole: bool) -> None:
        """Report the finding under the cursor no longer: of this row, or what its rule finds in this dataset."""
        finding = self._current
        if finding is None:
            return
        place = {"dataset": self._dataset} if whole else {"uid": finding.uid}
        await self.tuningfork.bridge.call(review.mute, finding.code, **place)
        where = f"in {one_line(self._dataset, 30)}" if whole else "of this row"
        undo = f"tuningfork data mute {finding.code} {'--dataset' if whole else '--uid'} NAME --undo".replace(
            "NAME", one_line(self._dataset, 30) if whole else finding.uid
        )
        self.tuningfork.notify(f"{finding.code} {where} is not reported any more. To report it again: {undo}")
        self.reload()

    @work(group="change")
    @show_errors
    async def action_undo(self) -> None:
        edit = await self.tuningfork.bridge.call(edits.undo)
        self.tuningfork.notify(f"Undid: {formatting.edited(edit.label, edit.pairs)}." if edit else "Nothing to undo.")
        self.reload()

    def action_back(self) -> None:
        self.dismiss(None)


class FixDialog(Dialog[bool]):
    """True when the fixes that are shown are to be made."""

    def __init__(self, rule: str, fixes: Fixes) -> None:
        super().__init__(f"Fix {rule}")
        self._fixes = fixes

    def compose_body(self) -> ComposeResult:
        changes = self._fixes.changes
        lines = [Content(f"{formatting.count(len(changes), 'text')} in {formatting.count(self._fixes.pairs, 'pair')}:")]
        lines += [marked(each.before, each.after) for each in changes[:_CHANGES]]
        if len(changes) > _CHANGES:
            lines.append(Content.styled(f"… and {len(changes) - _CHANGES:,} more", "$faint"))
        if self._fixes.left:
            lines.append(Content(f"{formatting.count(len(self._fixes.left), 'finding')} cannot be corrected this way."))
        yield Static(Content("\n").join(lines), markup=False)

    def compose_buttons(self) -> ComposeResult:
        yield button("Cancel", "cancel")
        yield button(f"Fix {formatting.count(self._fixes.pairs, 'pair')}", "go", "primary")

    def on_mount(self) -> None:
        super().on_mount()
        self.query_one("#cancel").focus()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        self.dismiss(event.button.id == "go")


def _texts_of(store: Store, finding: Finding) -> tuple[str, str]:
    """The row's question, and the text that a finding is about; empty when the row is gone."""
    named: dict[str, str] = {}
    question = ""
    for pair in pairs.begin_with(store, finding.uid):
        named, question = dict(texts(pair)), pair.question
    for row in preference_rows.begin_with(store, finding.uid):
        named, question = dict(row.texts()), row.prompt[-1]["content"]
    return question, named.get(finding.field, "")


def _summary(dataset: str, found: Problems) -> str:
    counts = [(level, sum(finding.level == level for finding in found.findings)) for level in _SIGNS]
    said = ", ".join(formatting.count(n, level, _PLURALS[level]) for level, n in counts if n) or "no problems"
    muted = f" · {found.muted:,} muted" if found.muted else ""
    more = f" · the first {_SHOWN:,} are listed" if len(found.findings) > _SHOWN else ""
    return f"{one_line(dataset, 30)}: {said}{muted}{more}"


def _line(finding: Finding, width: int) -> Content:
    """A finding on one line: its level, its rule, what it says."""
    sign = Content.styled(f"{_SIGNS[finding.level]} ", _STYLES[finding.level])
    said = fit(f"the {finding.field} {finding.what}", max(10, width - 16))
    return Content.assemble(sign, (fit(finding.code, 12), "bold"), "  ", said)


def _page(finding: Finding, question: str, text: str) -> Content:
    """What a finding says, the question that its row is known by, and its text with the faulty place marked."""
    todo = "Enter reviews its group" if finding.code == "duplicate" else "Enter opens it"
    facts = [finding.level, finding.code, f"uid {finding.uid}", "c corrects it" if finding.fixable else todo]
    said = f"The {finding.field} {finding.what}."
    start, end = finding.start or 0, finding.end or 0
    before, after = text[max(0, start - _AROUND) : start], text[end : end + _AROUND]
    place = Content.assemble(
        f"{'…' if start > _AROUND else ''}{clean(before)}",
        (_visible(text[start:end][: 2 * _AROUND]), f"reverse {_STYLES[finding.level]}"),
        f"{clean(after)}{'…' if len(text) > end + _AROUND else ''}",
    )
    asked = [] if question == text else [Content.styled(f"Question: {one_line(question, _AROUND)}", "$faint")]
    lines = [Content.styled(" · ".join(facts), "$faint"), *asked, Content(clean(said)), Content(""), place]
    return Content("\n").join(lines)


def _visible(text: str) -> str:
    """A faulty place as it can be seen: invisible characters by their numbers, white space at the ends as ␣."""
    shown = "".join(char if char.isprintable() or char in "\n\t" else f"⟨U+{ord(char):04X}⟩" for char in text)
    return clean(shown) if shown.strip() else "␣" * len(shown)

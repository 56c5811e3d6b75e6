"""What differs between two snapshots, or a snapshot and today's dataset: the rows, and each change word by word.
Draws what store.snapshots found."""

from __future__ import annotations

from typing import Literal

from textual import on, work
from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static
from textual.widgets.option_list import Option

from store.records import SnapshotRow
from store.snapshots import SnapshotDiff
from tui.screens.base import PageScreen, show_errors
from tui.screens.data.bulk_dialogs import marked
from tui.snapshot_changes import changed_texts, in_a_line, row_texts, summary
from tui.text import clip, one_line
from tui.widgets.empty_state import EmptyState
from tui.widgets.line_list import LineList

_SHOWN = 2_000
"""Rows listed at most; `tuningfork data snapshots diff --limit 0` prints all of them."""
_LONGEST = 2_000
"""Characters of a text that are compared word by word."""
_STYLES = {"+": "$text-success", "-": "$text-error", "~": "$text-warning"}
_Row = tuple[Literal["+", "-", "~"], SnapshotRow, SnapshotRow | None]
"""Its sign, the row (of a change: as it is after it), and as it was before."""


class SnapshotDiffPage(PageScreen[None]):
    """The rows that were changed, added and removed; below them the one under the cursor."""

    PAGE = "snapshot_diff"
    CSS_PATH = "snapshots.tcss"

    def __init__(self, found: SnapshotDiff) -> None:
        super().__init__()
        self._found = found
        self._rows: list[_Row] = [
            *(("~", after, before) for before, after in found.changed),
            *(("+", row, None) for row in found.added),
            *(("-", row, None) for row in found.removed),
        ]

    def compose_body(self) -> ComposeResult:
        yield Static(id="summary", markup=False)
        with Vertical(id="differences"):
            yield LineList()
            with VerticalScroll(id="difference"):
                yield Static(markup=False)
        yield EmptyState()

    def on_mount(self) -> None:
        super().on_mount()
        found = self._found
        other = f"{one_line(found.dataset or '', 30)} today" if found.after is None else found.after.hash[:12]
        more = f" · the first {_SHOWN:,} are listed" if len(self._rows) > _SHOWN else ""
        head = f"{found.before.hash[:12]} → {other}: {summary(found)}{more}"
        self.query_one("#summary", Static).update(Content(head))
        self.query_one("#differences").display = bool(self._rows)
        empty = self.query_one(EmptyState)
        empty.display = not self._rows
        empty.say("Nothing differs.", [("Esc", "back to the snapshots")])
        self._draw()
        if self._rows:
            self.query_one(LineList).focus()

    def on_resize(self) -> None:
        """Lines are laid out for the width there is."""
        self._draw()

    def _draw(self) -> None:
        listed = self.query_one(LineList)
        at, width = listed.highlighted or 0, self.size.width - 7
        listed.clear_options()
        listed.add_options([
            Option(Content.assemble((f"{sign} ", _STYLES[sign]), in_a_line(row, width)))
            for sign, row, _ in self._rows[:_SHOWN]
        ])  # fmt: skip
        listed.highlighted = min(at, len(self._rows) - 1) if self._rows else None

    @on(LineList.OptionHighlighted)
    def _moved(self, event: LineList.OptionHighlighted) -> None:
        self._read(event.option_index)

    @on(LineList.OptionSelected)
    def _chosen(self) -> None:
        self.query_one("#difference").focus()

    @work(group="read", exclusive=True)
    @show_errors
    async def _read(self, at: int) -> None:
        """Show the row under the cursor; long texts take a moment to compare, so in a thread."""
        page = await self.tuningfork.bridge.thread(_page, self._rows[at])
        self.query_one("#difference", VerticalScroll).scroll_home(animate=False)
        self.query_one("#difference Static", Static).update(page)

    def key_word(self, id: str) -> str | None:
        return "Read" if id == "lines.open" else super().key_word(id)

    def action_back(self) -> None:
        """From the text to the list; then back to the snapshots."""
        if self.query_one("#difference").has_focus:
            self.query_one(LineList).focus()
        else:
            self.dismiss(None)


def _page(shown: _Row) -> Content:
    """All of a row: what was added or removed as it is, what was changed with its words marked."""
    sign, row, before = shown
    words = {"+": "added", "-": "removed", "~": "changed"}
    facts = [words[sign], row.split, row.kind, *([f"uid {row.pair_uid}"] if row.pair_uid else [])]
    parts = [Content.styled(" · ".join(facts), "$faint"), Content("")]
    if before is None:
        for name, text in row_texts(row):
            parts += [Content.styled(name, "bold $primary"), Content(clip(text, _LONGEST)), Content("")]
        return Content("\n").join(parts)
    changes = changed_texts(before, row)
    if not any(name == "question" for name, _, _ in changes):
        parts += [Content.styled("question", "bold $primary"), Content(clip(row.messages[-2]["content"], _LONGEST))]
        parts.append(Content(""))
    for name, old, new in changes:
        shown_change = marked(clip(old, _LONGEST), clip(new, _LONGEST), around=None)
        parts += [Content.styled(f"{name}, changed", "bold $primary"), shown_change, Content("")]
    return Content("\n").join(parts)

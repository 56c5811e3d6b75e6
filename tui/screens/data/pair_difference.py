"""A pair beside another one, word by word: what only the first has is struck out, what only this one has is bold.
Reads nothing itself; everything shown is cleaned first."""

from __future__ import annotations

from collections.abc import Sequence

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from store.records import Pair, Split
from tui import formatting
from tui.screens.data.bulk_dialogs import marked
from tui.text import clip, one_line
from tui.widgets.signs import STATUS_SIGN

_LONGEST = 2_000
"""Characters of a text that are compared; more would take seconds."""
_FIELDS = (("System", "system"), ("Question", "question"), ("Answer", "answer"))


class PairDifference(VerticalScroll):
    """`show()` what `difference` made."""

    DEFAULT_CSS = """
    PairDifference {
        height: 1fr;
        padding: 0 2;
        border-top: solid $hairline;
        scrollbar-size-vertical: 1;
        & > Static { width: 1fr; height: auto; }
    }
    """

    def compose(self) -> ComposeResult:
        yield Static(markup=False)

    def show(self, content: Content) -> None:
        """Show this, from its top."""
        self.query_one(Static).update(content)
        self.scroll_home(animate=False)


def difference(first: Pair, pair: Pair, homes: Sequence[tuple[str, Split]]) -> Content:
    """What a view shows of `pair` beside `first`, which may be the same.

    Takes a moment for long texts, so call it in a thread.
    """
    facts = [f"{STATUS_SIGN[pair.status]} {pair.status}"]
    facts += [f"{one_line(name, 30)} ({split})" for name, split in homes] or ["in no dataset"]
    facts += [one_line(" ".join(f"#{tag}" for tag in pair.tags), 60)] if pair.tags else []
    facts += [f"after {formatting.count(len(pair.history), 'earlier turn')}"] if pair.history else []
    facts += [f"uid {pair.uid}"]
    parts = [Content.styled(" · ".join(facts), "$faint")]
    for title, field in _FIELDS:
        before, after = getattr(first, field), getattr(pair, field)
        if before or after or field != "system":
            parts += [Content(""), Content.styled(title, "bold $primary"), _text(before, after)]
    return Content("\n").join(parts)


def _text(before: str, after: str) -> Content:
    if before == after:
        return Content(clip(after, _LONGEST)) if after.strip() else Content.styled("(empty)", "$faint")
    shown = marked(clip(before, _LONGEST), clip(after, _LONGEST), around=None)
    if before[_LONGEST:] == after[_LONGEST:]:
        return shown
    return Content.assemble(shown, ("\nWhat is left out here differs too.", "$warning"))

"""A whole pair to read: its status and datasets, then its texts. Long texts are clipped, and the rest is counted.
Reads nothing itself; everything shown is cleaned first."""

from __future__ import annotations

from collections.abc import Sequence

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from store.records import Pair, Split
from tui import formatting
from tui.text import clip, one_line
from tui.widgets.signs import STATUS_SIGN


class PairView(VerticalScroll):
    """`show()` a pair, or nothing."""

    DEFAULT_CSS = """
    PairView {
        width: 1fr;
        height: 1fr;
        padding: 0 1;
        scrollbar-size-vertical: 1;
        & > Static { width: 1fr; height: auto; }
    }
    """

    def compose(self) -> ComposeResult:
        yield Static(markup=False)

    def show(self, pair: Pair | None, homes: Sequence[tuple[str, Split]] = ()) -> None:
        """Show this pair, from its top."""
        self.query_one(Static).update(_page(pair, homes) if pair else Content.styled("No pair selected.", "$faint"))
        self.scroll_home(animate=False)


def _page(pair: Pair, homes: Sequence[tuple[str, Split]]) -> Content:
    colour = {"ready": "$success", "draft": "$warning", "rejected": "$error"}[pair.status]
    head = Content.assemble((f"{STATUS_SIGN[pair.status]} {pair.status}", f"bold {colour}"), f"  {pair.kind}")
    if pair.tags:
        head += Content.styled("  " + one_line(" ".join(f"#{tag}" for tag in pair.tags), 60), "$secondary")
    parts = [head, _facts(pair, homes), Content("")]
    if pair.system:
        parts += [_title("System"), Content(clip(pair.system)), Content("")]
    for turn in pair.history:
        title = {"user": "Earlier question", "assistant": "Earlier answer"}.get(turn.role, "System")
        parts += [_title(title if turn.train else f"{title} (not trained)")]
        parts += [Content(clip(turn.content, 1_000)), Content("")]
    parts += [_title("Question"), Content(clip(pair.question)), Content("")]
    parts += [_title("Answer")]
    parts += [Content(clip(pair.answer)) if pair.answer.strip() else Content.styled("No answer yet.", "$faint")]
    return Content("\n").join(parts)


def _title(text: str) -> Content:
    return Content.styled(text, "bold $primary")


def _facts(pair: Pair, homes: Sequence[tuple[str, Split]]) -> Content:
    """Datasets with split, revision, age, source: one faint line that may wrap."""
    where = ", ".join(f"{one_line(name, 30)} ({split})" for name, split in homes) or "in no dataset"
    facts = [where, f"revision {pair.revision}", f"changed {_when(pair)}"]
    if "file" in pair.source:
        line = f":{pair.source['line']}" if "line" in pair.source else ""
        facts.append("from " + one_line(f"{str(pair.source['file']).rpartition('/')[2]}{line}", 40))
    elif "model" in pair.source:
        facts.append("from a chat with " + one_line(str(pair.source["model"]), 40))
    return Content.styled(" · ".join(facts), "$faint")


def _when(pair: Pair) -> str:
    age = formatting.ago(pair.updated_at)
    return "just now" if age == "now" else f"{age} ago"

"""Two answers side by side, with the words underlined that only one of them has.
Draws what tui.worddiff finds."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container, VerticalScroll
from textual.content import Content
from textual.events import Resize
from textual.screen import ModalScreen
from textual.widgets import Static

from tui import keys
from tui.text import clean
from tui.widgets.key_bar import KeyBar
from tui.worddiff import Marked, word_diff

_COLOUR = {"a": "$lane-a", "b": "$lane-b", "c": "$success", "d": "$error"}


class Diff(ModalScreen[None]):
    """`names`, `texts` and `lanes` are of the left and the right side; a lane gives the colour."""

    CSS_PATH = "diff.tcss"
    BINDINGS: ClassVar[list[BindingType]] = keys.bindings(keys.BACK, keys.DIFF)

    def __init__(self, names: tuple[str, str], texts: tuple[str, str], lanes: tuple[str, str] = ("a", "b")) -> None:
        super().__init__()
        self._names, self._texts, self._lanes = names, texts, lanes

    def compose(self) -> ComposeResult:
        found = word_diff(*(clean(text).strip() for text in self._texts))
        yield Static(_summary(found.alike, *(len(text.split()) for text in self._texts)), id="diff-head")
        with Container(id="sides"):
            for n, (name, lane, marked) in enumerate(zip(self._names, self._lanes, (found.a, found.b), strict=True)):
                with VerticalScroll(classes="side", id=f"side-{n}"):
                    yield Static(Content.styled(clean(name), f"bold {_COLOUR[lane]}"), classes="side-name")
                    text = _marked(marked, f"underline {_COLOUR[lane]}")
                    yield Static(text or Content.styled("(nothing)", "$faint"))
        yield KeyBar()

    def on_mount(self) -> None:
        self.query_one("#side-0").focus()

    def on_resize(self, event: Resize) -> None:
        self.set_class(event.size.width < 80, "-stacked")

    def action_back(self) -> None:
        self.dismiss(None)


def _summary(alike: float, words_a: int, words_b: int) -> Content:
    head = "The answers are the same, word for word." if alike == 1 else f"{alike:.0%} of the words are the same."
    return Content.assemble(
        (f" {head}", "bold"), (f"  {words_a} and {words_b} words. Underlined: on one side only.", "$faint")
    )


def _marked(pieces: Marked, style: str) -> Content:
    return Content.assemble(*((text, style) if only else text for text, only in pieces))
